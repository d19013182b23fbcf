"""When the agent last spoke with the portal; `fleet-agent status` reads it."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any, Optional

from fleet_agent.clock import rfc3339_now
from fleet_agent.durable import write_atomically

# The file is for people; writing it more often would only wear out the flash of the device.
MIN_BETWEEN_WRITES_S = 10.0
log = logging.getLogger(__name__)


class ContactRecord:
    """state.json: the last success, the last failure, what the portal said."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._record = read_contact(path)
        self._is_in_contact: Optional[bool] = None
        self._written_at = 0.0

    def succeeded(self, answer: dict[str, Any]) -> None:
        self._record.update(
            last_contact_at=rfc3339_now(),
            server_time=answer.get("server_time"),
            target_version=answer.get("target_version"),
            commands_pending=answer.get("commands_pending"),
        )
        self._save(is_in_contact=True)

    def failed(self, error: Exception) -> None:
        self._record.update(last_failure_at=rfc3339_now(), last_failure=str(error))
        self._save(is_in_contact=False)

    def _save(self, *, is_in_contact: bool) -> None:
        is_news = is_in_contact != self._is_in_contact
        now = time.monotonic()
        if not is_news and now - self._written_at < MIN_BETWEEN_WRITES_S:
            return
        self._is_in_contact = is_in_contact
        self._written_at = now
        try:
            write_atomically(self._path, json.dumps(self._record).encode(), durable=False)
        except OSError as error:
            log.debug("%s cannot be written: %s", self._path, error)


def read_contact(path: Path) -> dict[str, Any]:
    """Return the record of the last contact; empty when there is none."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}

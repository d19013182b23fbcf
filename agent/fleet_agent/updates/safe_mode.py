"""Whether this device is in safe mode, and how often its application failed to start."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Optional

from fleet_agent.clock import rfc3339_now
from fleet_agent.durable import write_atomically

AGENT, PORTAL = "agent", "portal"
log = logging.getLogger(__name__)


class SafeMode:
    """safe_mode.json: the mode, since when and why, and whether the portal has heard of it.

    `after_update` is the last update there was when it began: one that came later leads out of it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._record = read_record(path)

    @property
    def is_on(self) -> bool:
        return self._record.get("is_on") is True

    @property
    def is_told(self) -> bool:
        return self._record.get("is_told") is not False

    @property
    def reason(self) -> str:
        return str(self._record.get("reason") or "")

    @property
    def after_update(self) -> Optional[int]:
        number = self._record.get("after_update")
        return number if isinstance(number, int) else None

    def enter(self, *, reason: str, source: str, after_update: Optional[int] = None) -> None:
        """Raises OSError; the mode holds until the next start of the agent then."""
        if not self.is_on or self.after_update != after_update:
            self._set(
                is_on=True,
                reason=reason,
                source=source,
                since=rfc3339_now(),
                after_update=after_update,
            )

    def leave(self, *, reason: str) -> None:
        """Raises OSError."""
        if self.is_on:
            self._set(is_on=False, reason=reason, since=rfc3339_now())

    def told(self) -> None:
        """Remember that the portal has the diagnostics."""
        self._record["is_told"] = True
        try:
            self._save()
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error)

    def _set(self, **record: Any) -> None:
        self._record = {**record, "is_told": False}
        self._save()

    def _save(self) -> None:
        write_atomically(self._path, json.dumps(self._record).encode())


class Starts:
    """starts.json: failed starts of the application in a row, and the boot of the last good one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        record = read_record(path)
        failed = record.get("failed")
        self.failed = failed if isinstance(failed, int) else 0
        self.boot_id = str(record.get("boot_id") or "")

    def worked(self, boot_id: str) -> None:
        if (self.failed, self.boot_id) != (0, boot_id):
            self.failed, self.boot_id = 0, boot_id
            self._save()

    def has_failed(self) -> None:
        self.failed += 1
        self._save()

    def _save(self) -> None:
        record = {"failed": self.failed, "boot_id": self.boot_id}
        try:
            write_atomically(self._path, json.dumps(record).encode())
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error)


def read_record(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; empty when there is none."""
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}

"""Compares the files of the release with its manifest on a schedule, and tells what differs."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from fleet_agent.durable import write_atomically
from fleet_agent.errors import PortalError
from fleet_agent.loops import IDLE_S, Loop, advice
from fleet_agent.pace import Backoff, jittered
from fleet_agent.portal import PortalClient
from fleet_agent.settings import ConfigStore
from fleet_agent.updates.deployment import Deployment
from fleet_agent.updates.drifted import all_drift
from fleet_agent.updates.safe_mode import read_record

# The portal's bound of one report.
MAX_ITEMS = 500
log = logging.getLogger(__name__)


class DriftLoop(Loop):
    """One thread that looks and tells; `due` makes it look at once."""

    name = "drift"

    def __init__(self, *, store: ConfigStore, portal: PortalClient, deployment: Deployment) -> None:
        super().__init__(store=store, portal=portal)
        self._deployment = deployment
        self._backoff = Backoff()
        self._next = 0.0
        self._told_path = store.state_dir / "drift.json"
        deployment.on_drift = self.due

    def due(self) -> None:
        self._next = 0.0
        self.wake()

    def turn(self) -> float:
        interval_s = self._store.settings.drift_interval
        if not interval_s and self._next:
            return IDLE_S
        left_s = self._next - time.monotonic()
        if left_s > 0:
            return left_s
        self._next = time.monotonic() + jittered(interval_s or IDLE_S)
        try:
            self._look()
        except PortalError as error:
            self._next = time.monotonic() + self._backoff.delay_s(error)
            log.warning("Drift is not told: %s%s", error, advice(error))
        except OSError as error:
            log.warning("Drift cannot be told: %s", error)
        else:
            self._backoff.reset()
        return max(0.0, self._next - time.monotonic())

    def _look(self) -> None:
        """Raises PortalError, OSError."""
        version, items = all_drift(self._store, self._deployment)
        told = read_record(self._told_path).get("count")
        if not items and not told:
            return
        body: dict[str, Any] = {
            "release": version,
            "items": items[:MAX_ITEMS],
            "count": len(items),
        }
        self.portal.call("POST", "/telemetry/drift", body=body)
        write_atomically(self._told_path, json.dumps({"count": len(items)}).encode())

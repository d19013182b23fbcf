"""Making one heartbeat."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

from fleet_agent import __version__
from fleet_agent.clock import rfc3339_now
from fleet_agent.metrics import MetricsReader, machine_errors
from fleet_agent.sequence import SequenceCounter, seconds_since_boot
from fleet_agent.settings import ConfigStore

MAX_VERSION_LENGTH = 64


class HeartbeatSource:
    """Puts together what a heartbeat says. `troubles` gives the agent's own complaints."""

    def __init__(
        self,
        *,
        store: ConfigStore,
        sequence: SequenceCounter,
        boot: str,
        troubles: Callable[[], list[str]],
        queue_length: Callable[[], int],
    ) -> None:
        self._store = store
        self._sequence = sequence
        self._boot = boot
        self._troubles = troubles
        self._queue_length = queue_length
        self._metrics = MetricsReader()

    def build(self) -> dict[str, Any]:
        """Return a heartbeat of this moment, with a sequence number of its own."""
        settings = self._store.settings
        metrics = self._metrics.read()
        number = self._sequence.next()
        errors = machine_errors(metrics) + self._troubles()
        return {
            "ts": rfc3339_now(),
            "boot_id": self._boot,
            "sequence": number,
            "version": application_version(settings.version_file),
            "agent_version": __version__,
            "uptime_seconds": seconds_since_boot(),
            "metrics": metrics,
            "status": {
                "degradation_level": 1 if errors else 0,
                "queue_length": self._queue_length(),
                "heartbeat_interval_s": settings.heartbeat_interval,
            },
            "errors": errors,
        }


def application_version(path: Optional[str]) -> str:
    """Return the first line of VERSION_FILE; the agent's version when there is none."""
    if path:
        try:
            with Path(path).open("rb") as stream:
                line = stream.read(1024).decode("utf-8", "replace").split("\n")[0].strip()
        except OSError:
            line = ""
        version = "".join(char for char in line if char.isprintable())[:MAX_VERSION_LENGTH]
        if version:
            return version
    return __version__

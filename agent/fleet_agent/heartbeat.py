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
    """Puts together what a heartbeat says. `troubles` gives the agent's own complaints, `release`
    what `Deployment.shown` does.
    """

    def __init__(
        self,
        *,
        store: ConfigStore,
        sequence: SequenceCounter,
        boot: str,
        troubles: Callable[[], list[str]],
        queue_length: Callable[[], int],
        release: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self._store = store
        self._sequence = sequence
        self._boot = boot
        self._troubles = troubles
        self._queue_length = queue_length
        self._release = release
        self._metrics = MetricsReader()

    def build(self) -> dict[str, Any]:
        """Return a heartbeat of this moment, with a sequence number of its own."""
        settings = self._store.settings
        metrics = self._metrics.read()
        number = self._sequence.next()
        errors = machine_errors(metrics) + self._troubles()
        release = self._release()
        version = application_version(settings.version_file, release.get("version"))
        is_the_release = version == release.get("version")
        return {
            "ts": rfc3339_now(),
            "boot_id": self._boot,
            "sequence": number,
            "version": version,
            **({"commit": release["commit"]} if is_the_release else {}),
            "agent_version": __version__,
            "uptime_seconds": seconds_since_boot(),
            "metrics": metrics,
            "status": {
                "degradation_level": 1 if errors else 0,
                "queue_length": self._queue_length(),
                "heartbeat_interval_s": settings.heartbeat_interval,
                "release_id": release.get("release_id"),
                "update_phase": release.get("update_phase"),
                "safe_mode": bool(release.get("safe_mode")),
                "leaving_safe_mode": bool(release.get("leaving_safe_mode")),
            },
            "errors": errors,
        }


def application_version(path: Optional[str], released: Optional[str] = None) -> str:
    """Return the first line of VERSION_FILE, else the version of the release that runs, else the
    agent's.

    The file comes first: its owner has it written by what really runs, so that it proves more than
    the name of the release the agent has switched to.
    """
    if path:
        try:
            with Path(path).open("rb") as stream:
                line = stream.read(1024).decode("utf-8", "replace").split("\n")[0].strip()
        except OSError:
            line = ""
        version = "".join(char for char in line if char.isprintable())[:MAX_VERSION_LENGTH]
        if version:
            return version
    return released or __version__

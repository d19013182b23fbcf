"""What systemd knows of a unit's last start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import psutil

from fleet_agent import processes

QUERY_TIMEOUT_S = 10.0
PROPERTIES = ("InvocationID", "ActiveState", "ActiveEnterTimestampMonotonic", "MainPID", "Job")


@dataclass(frozen=True)
class UnitFacts:
    """`active_since_us` is on the clock that starts with the machine; 0 when unknown."""

    invocation_id: str = ""
    active_state: str = ""
    active_since_us: int = 0
    main_pid: int = 0
    job: int = 0

    @property
    def is_active(self) -> bool:
        return self.active_state == "active"

    @property
    def is_changing(self) -> bool:
        """True while systemd still works on it."""
        return bool(self.job) or self.active_state in ("activating", "deactivating", "reloading")

    def main_started_s(self) -> Optional[float]:
        """Return the epoch second at which the unit's main process began."""
        try:
            return float(psutil.Process(self.main_pid).create_time()) if self.main_pid else None
        except psutil.Error:
            return None


def unit_facts(unit: str) -> UnitFacts:
    """Return what is known; empty facts where systemd does not run."""
    names = ",".join(PROPERTIES)
    found = {}
    for line in asked(["systemctl", "show", f"--property={names}", "--", unit]):
        name, _, value = line.partition("=")
        found[name] = value
    return UnitFacts(
        invocation_id=found.get("InvocationID", ""),
        active_state=found.get("ActiveState", ""),
        active_since_us=_number(found.get("ActiveEnterTimestampMonotonic")),
        main_pid=_number(found.get("MainPID")),
        job=_number(found.get("Job")),
    )


def asked(arguments: list[str]) -> list[str]:
    """Return the lines a query prints; none when it cannot be asked."""
    if not processes.is_present(arguments[0]):
        return []
    try:
        return processes.run(arguments, timeout_s=QUERY_TIMEOUT_S).output.strip().splitlines()
    except OSError:
        return []


def _number(text: Optional[str]) -> int:
    return int(text) if text and text.isdigit() else 0

"""What the portal asks a device to do wrong in a rehearsal, where its owner lets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleet_agent.updates.errors import (
    HEALTH,
    INSTALL,
    NETWORK,
    SPACE,
    VERIFICATION,
    UpdateFailedError,
)
from fleet_agent.updates.state import CHECKING, DOWNLOADING, OFFERED, UNPACKING, VERIFYING

FAIL, HANG, FALSE_SUCCESS = "fail", "hang", "false_success"
# Seconds beyond the update's own time for which one that hangs stays silent: it is the portal that
# has to notice.
SILENT_S = 60.0
# What usually goes wrong in a step; all that is not named here is an installation.
_CLASSES = {
    OFFERED: NETWORK,
    DOWNLOADING: NETWORK,
    VERIFYING: VERIFICATION,
    UNPACKING: SPACE,
    CHECKING: HEALTH,
}


@dataclass(frozen=True)
class Rehearsal:
    """What goes wrong, and at which step; nothing without a mode."""

    mode: str = ""
    at: str = ""

    @classmethod
    def ordered(cls, chaos: Mapping[str, Any]) -> Rehearsal:
        """Read an order of the portal: {"mode", "fail_at"} or {"mode", "at"}."""
        mode = str(chaos.get("mode") or FAIL) if chaos else ""
        return cls(mode, str(chaos.get("fail_at") or chaos.get("at") or ""))

    @property
    def is_false_success(self) -> bool:
        return self.mode == FALSE_SUCCESS

    def fails(self, step: str) -> bool:
        return (self.mode, self.at) == (FAIL, step)

    def hangs(self, step: str) -> bool:
        return (self.mode, self.at) == (HANG, step)

    def failure(self) -> UpdateFailedError:
        kind = _CLASSES.get(self.at, INSTALL)
        return UpdateFailedError(kind, "chaos", f"Made to fail in the step {self.at}.")

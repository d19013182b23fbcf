"""The shape of a command type."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Optional

from fleet_agent.journal import Entry
from fleet_agent.portal import PortalClient
from fleet_agent.processes import MAX_OUTPUT_BYTES
from fleet_agent.redaction import plain_text
from fleet_agent.settings import ConfigStore

MAX_ERROR_BYTES = 4096
INTERRUPTED = "interrupted by a restart of the agent"


class CommandRefusedError(Exception):
    """The device will not do this; the message tells the operator why."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended: `status` is succeeded, failed or rejected."""

    status: str
    result: Optional[dict[str, Any]] = None
    error: str = ""
    output: str = ""

    def as_report(self) -> dict[str, Any]:
        report: dict[str, Any] = {"status": self.status}
        if self.result is not None:
            report["result"] = self.result
        if self.error:
            report["error"] = plain_text(self.error, max_bytes=MAX_ERROR_BYTES)
        if self.output:
            report["output"] = plain_text(self.output, max_bytes=MAX_OUTPUT_BYTES)
        return report


@dataclass(frozen=True)
class Context:
    """What a command may use. `uptime_s` counts seconds since boot, `pause` waits for seconds."""

    store: ConfigStore
    state_dir: Path
    portal: PortalClient
    boot_id: str
    uptime_s: Callable[[], int]
    recent_log: Callable[[], str]
    pause: Callable[[float], object]


class CommandType(ABC):
    """One type. `check`, then `facts`, then `execute`; `probe` when a restart came between."""

    name: ClassVar[str]

    @abstractmethod
    def check(self, payload: dict[str, Any], context: Context) -> dict[str, Any]:
        """Return the arguments to journal. Raises CommandRefusedError."""

    def facts(self, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
        """Return what `probe` must know of the time before the command."""
        return {}

    @abstractmethod
    def execute(self, entry: Entry, context: Context) -> Optional[Outcome]:
        """Do it. None means: begun, and `probe` will tell when it is done."""

    def probe(self, entry: Entry, context: Context) -> Optional[Outcome]:
        """Tell from the machine what became of a command that was started but has no result."""
        return Outcome("failed", error=INTERRUPTED)

"""The shape of a command type."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Optional

from fleet_agent.journal import Entry
from fleet_agent.live import Live
from fleet_agent.output import OutputStream, Read
from fleet_agent.portal import PortalClient
from fleet_agent.processes import MAX_OUTPUT_BYTES
from fleet_agent.redaction import plain_text
from fleet_agent.settings import ConfigStore
from fleet_agent.updates.deployment import Deployment
from fleet_agent.updates.keeping import Keeping

MAX_ERROR_BYTES = 4096
INTERRUPTED = "interrupted by a restart of the agent"
# Error codes of the agent's own: the effect may or may not have happened; it certainly has not.
CODE_INTERRUPTED = "interrupted"
CODE_NOT_STARTED = "not_started"
# How long a long command may be silent before the portal gives it up, in seconds.
STEP_TIMEOUT_S = 900


class CommandRefusedError(Exception):
    """The device will not do this; the message tells the operator why."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended: `status` is succeeded, failed, rejected or cancelled.

    `failure_class` is what the portal's retry policy goes by: network or failed.
    """

    status: str
    result: Optional[dict[str, Any]] = None
    error: str = ""
    output: str = ""
    error_code: str = ""
    failure_class: str = ""

    def as_report(self) -> dict[str, Any]:
        report: dict[str, Any] = {"status": self.status}
        if self.result is not None:
            report["result"] = self.result
        if self.error:
            report["error"] = plain_text(self.error, max_bytes=MAX_ERROR_BYTES)
        if self.error_code:
            report["error_code"] = self.error_code
        if self.failure_class:
            report["failure_class"] = self.failure_class
        if self.output:
            report["output"] = plain_text(self.output, max_bytes=MAX_OUTPUT_BYTES)
        return report


# What a probe answers when `execute` may be called (again): nothing can happen twice by that.
RESUME = Outcome("resume")


def interrupted(detail: str = "") -> Outcome:
    """Return the end of a command whose effect cannot be told; it is never done again."""
    error = f"{INTERRUPTED}; {detail}" if detail else INTERRUPTED
    return Outcome("failed", error=error, error_code=CODE_INTERRUPTED)


@dataclass(frozen=True)
class Context:
    """What a command may use. `uptime_s` counts seconds since boot, `pause` waits for seconds.

    `deployment` and `keeping` are there where the agent takes care of releases.
    """

    store: ConfigStore
    state_dir: Path
    portal: PortalClient
    boot_id: str
    uptime_s: Callable[[], int]
    recent_log: Callable[[], str]
    pause: Callable[[float], object]
    live: Optional[Live] = None
    deployment: Optional[Deployment] = None
    keeping: Optional[Keeping] = None

    def check_cancelled(self) -> None:
        """Raises CommandCancelledError when the portal wants the command to end."""
        if self.live is not None:
            self.live.check()

    def show_output(self, read: Read, *, kept_in: Optional[Path] = None) -> None:
        """Let the portal follow an output that grows; see `OutputStream`."""
        live = self.live
        if live is None:
            return
        path = f"/commands/{live.entry.command_id}/output"
        attempt = live.entry.attempt

        # The keeper's thread calls this; connections are not shared between threads.
        portal = PortalClient(self.store)

        def post(piece: dict[str, Any]) -> dict[str, Any]:
            answer = portal.call("POST", path, body={"attempt": attempt, **piece})
            if answer.get("cancel_requested"):
                live.cancelled.set()
            return answer

        live.stream = OutputStream(read=read, post=post, kept_in=kept_in)


class CommandType(ABC):
    """One type. `check`, then `facts`, then `execute`; `probe` when a restart came between."""

    name: ClassVar[str]
    # Seconds of silence the portal shall accept; None for a command of seconds, which is not
    # accompanied by a keeper either.
    step_timeout_s: ClassVar[Optional[int]] = None

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
        """Tell from the machine what became of a command that was started but has no result.

        None means: not decided yet, ask again. RESUME means: call `execute`.
        """
        return interrupted()

    def forget(self, entry: Entry, context: Context) -> None:  # noqa: B027 - most leave nothing
        """Remove what the command left on disk; called when the portal has its result."""

    def cancel(self, entry: Entry, context: Context) -> Optional[Outcome]:
        """Stop a command that takes effect later; None when it cannot be stopped."""
        return None

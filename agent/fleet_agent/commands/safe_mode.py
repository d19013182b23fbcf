"""safe_mode: stop the application and take no updates, or go back to normal."""

from __future__ import annotations

from typing import Any, ClassVar, Optional

from fleet_agent.commands.base import (
    RESUME,
    STEP_TIMEOUT_S,
    CommandRefusedError,
    CommandType,
    Context,
    Outcome,
)
from fleet_agent.commands.update import NOT_HERE
from fleet_agent.journal import Entry
from fleet_agent.updates.safe_mode import PORTAL

MAX_REASON_CHARS = 255


class SafeModeCommand(CommandType):
    """Payload: `enter`, true or false; `reason`."""

    name: ClassVar[str] = "safe_mode"
    step_timeout_s: ClassVar[Optional[int]] = STEP_TIMEOUT_S

    def check(self, payload: dict[str, Any], context: Context) -> dict[str, Any]:
        if context.deployment is None or context.keeping is None:
            raise CommandRefusedError(NOT_HERE)
        enter = payload.get("enter")
        if not isinstance(enter, bool):
            raise CommandRefusedError(f"enter must be true or false, not {enter!r:.80}.")
        return {"enter": enter, "reason": str(payload.get("reason") or "")[:MAX_REASON_CHARS]}

    def execute(self, entry: Entry, context: Context) -> Optional[Outcome]:
        deployment, keeping = context.deployment, context.keeping
        if deployment is None or keeping is None:
            raise CommandRefusedError(NOT_HERE)
        enter, reason = entry.arguments["enter"], entry.arguments["reason"]
        was_on = deployment.safe_mode.is_on
        try:
            if enter:
                # Before the lock: an update that has changed nothing gives it up then.
                deployment.enter_safe_mode(reason=reason, source=PORTAL)
            with deployment.lock:
                troubles = self._changed(reason, enter=enter, was_on=was_on, context=context)
        except OSError as error:
            return Outcome("failed", error=f"The mode cannot be written down: {error}")
        deployment.on_wish()
        result = {"safe_mode": deployment.safe_mode.is_on, "was": was_on}
        if troubles:
            told = "\n".join(troubles)
            return Outcome("failed", result=result, error=told, error_code="application")
        return Outcome("succeeded", result=result)

    def probe(self, entry: Entry, context: Context) -> Optional[Outcome]:
        # The mode is written down first; the application is then brought to what it asks for.
        return RESUME

    def _changed(self, reason: str, *, enter: bool, was_on: bool, context: Context) -> list[str]:
        keeping = context.keeping
        if keeping is None:
            return []
        if enter:
            return keeping.enter(reason=reason, source=PORTAL)
        return keeping.leave(reason=reason) if was_on else []

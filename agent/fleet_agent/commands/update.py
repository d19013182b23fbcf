"""update: ask the portal for the update it has made, and wait for its end."""

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
from fleet_agent.journal import Entry
from fleet_agent.updates.deployment import Wish
from fleet_agent.updates.errors import NOT_ALLOWED
from fleet_agent.updates.state import UpdateState

LOOK_S = 0.5
MAX_VERSION_CHARS = 64
NOT_HERE = "This agent takes no care of releases."


class Update(CommandType):
    """Payload: `version`, and `force`, which is for the portal alone."""

    name: ClassVar[str] = "update"
    step_timeout_s: ClassVar[Optional[int]] = STEP_TIMEOUT_S

    def check(self, payload: dict[str, Any], context: Context) -> dict[str, Any]:
        version = payload.get("version")
        if not isinstance(version, str) or not 1 <= len(version) <= MAX_VERSION_CHARS:
            raise CommandRefusedError(f"version must name a release, not {version!r:.80}.")
        if context.deployment is None:
            raise CommandRefusedError(NOT_HERE)
        if not context.store.settings.allow_updates:
            raise CommandRefusedError(NOT_ALLOWED)
        return {"version": version}

    def facts(self, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
        state = context.deployment.states.state if context.deployment else None
        return {"update_before": state.update_id if state else None}

    def execute(self, entry: Entry, context: Context) -> Optional[Outcome]:
        if context.deployment is None:
            raise CommandRefusedError(NOT_HERE)
        wish = context.deployment.wish(entry.arguments["version"])
        while not wish.is_done.is_set():
            context.pause(LOOK_S)
        return _outcome(entry, wish)

    def probe(self, entry: Entry, context: Context) -> Optional[Outcome]:
        # An update goes on by itself, and the portal offers one that has ended no more.
        return RESUME


def _outcome(entry: Entry, wish: Wish) -> Outcome:
    version = entry.arguments["version"]
    state = wish.ended
    is_new = state is not None and state.update_id != entry.facts.get("update_before")
    if state is None or not is_new or state.version != version or state.report is None:
        if wish.refusal:
            return Outcome("rejected", error=wish.refusal, error_code="not_offered")
        reason = "The portal offers no such update to this device."
        return Outcome("failed", error=reason, error_code="not_offered")
    report = state.report
    result = {
        name: report.get(name)
        for name in ("update_id", "status", "from_version", "running_version", "timings")
    }
    if report["status"] == "claimed":
        return Outcome("succeeded", result=result)
    return _failed(state, result)


def _failed(state: UpdateState, result: dict[str, Any]) -> Outcome:
    report = state.report or {}
    return Outcome(
        "failed",
        result=result,
        error=str(report.get("error") or f"The update ended as {report.get('status')}."),
        error_code=str(report.get("error_code") or ""),
        failure_class="network" if report.get("failure_class") == "network" else "",
    )

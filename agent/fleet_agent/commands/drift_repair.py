"""drift_repair: files of the release are put back as its signed manifest says."""

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
from fleet_agent.updates.drifted import repair
from fleet_agent.updates.errors import NOT_ALLOWED, UpdateFailedError

MAX_PATHS = 500


class DriftRepair(CommandType):
    """Payload: `paths` inside the release; all that differ when left out."""

    name: ClassVar[str] = "drift_repair"
    step_timeout_s: ClassVar[Optional[int]] = STEP_TIMEOUT_S

    def check(self, payload: dict[str, Any], context: Context) -> dict[str, Any]:
        if context.deployment is None:
            raise CommandRefusedError(NOT_HERE)
        if not context.store.settings.allow_updates:
            raise CommandRefusedError(NOT_ALLOWED)
        paths = payload.get("paths")
        is_list = isinstance(paths, list) and 1 <= len(paths) <= MAX_PATHS
        if paths is not None and not (is_list and all(isinstance(path, str) for path in paths)):
            raise CommandRefusedError(f"paths must be a list of 1 to {MAX_PATHS} paths.")
        return {"paths": paths}

    def execute(self, entry: Entry, context: Context) -> Optional[Outcome]:
        deployment = context.deployment
        if deployment is None:
            raise CommandRefusedError(NOT_HERE)
        with deployment.lock:
            try:
                result = repair(deployment, entry.arguments["paths"])
            except (UpdateFailedError, OSError) as error:
                code = getattr(error, "code", "repair")
                return Outcome("failed", error=str(error), error_code=str(code))
        deployment.on_drift()
        return Outcome("succeeded", result=result)

    def probe(self, entry: Entry, context: Context) -> Optional[Outcome]:
        # Each file is replaced in one step by what it should be, so once more does no harm.
        return RESUME

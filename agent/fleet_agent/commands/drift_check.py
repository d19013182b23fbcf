"""drift_check: which files are no longer what was accepted."""

from __future__ import annotations

from typing import Any, ClassVar, Optional

from fleet_agent.commands.base import (
    RESUME,
    CommandRefusedError,
    CommandType,
    Context,
    Outcome,
)
from fleet_agent.drift import AcceptedState
from fleet_agent.journal import Entry
from fleet_agent.keys import MAX_DRIFT_PATHS, is_plain_path
from fleet_agent.updates.drifted import release_drift

# Of the release; the report of drift holds more.
MAX_SHOWN = 100


class DriftCheck(CommandType):
    """Payload: `paths`, some of those that fleet.conf names; all of them when left out."""

    name: ClassVar[str] = "drift_check"

    def check(self, payload: dict[str, Any], context: Context) -> dict[str, Any]:
        paths = payload.get("paths")
        if paths is None:
            return {"paths": context.store.watched_paths}
        if not isinstance(paths, list) or not 1 <= len(paths) <= MAX_DRIFT_PATHS:
            raise CommandRefusedError(f"paths must be a list of 1 to {MAX_DRIFT_PATHS} paths.")
        bad = [path for path in paths if not isinstance(path, str) or not is_plain_path(path)]
        if bad:
            raise CommandRefusedError(f"{bad[0]!r:.200}: not an absolute path without '..'.")
        unnamed = [path for path in paths if path not in context.store.watched_paths]
        if unnamed:
            raise CommandRefusedError(
                f"{unnamed[0][:200]} is not watched on this device. "
                "Its owner names watched files in DRIFT_PATHS of fleet.conf."
            )
        return {"paths": paths}

    def execute(self, entry: Entry, context: Context) -> Optional[Outcome]:
        try:
            result = AcceptedState(context.state_dir).compare(entry.arguments["paths"])
        except OSError as error:
            return Outcome("failed", error=f"The first state cannot be written down: {error}")
        deployment = context.deployment
        if deployment is not None:
            try:
                result["release"], items = release_drift(deployment)
            except OSError as error:
                return Outcome("failed", error=f"The release cannot be read: {error}")
            result["release_drift"] = items[:MAX_SHOWN]
            # The portal keeps drift apart from the results of commands.
            deployment.on_drift()
        return Outcome("succeeded", result=result)

    def probe(self, entry: Entry, context: Context) -> Optional[Outcome]:
        return RESUME

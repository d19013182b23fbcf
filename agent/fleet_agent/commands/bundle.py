"""bundle: collect what helps to find a fault, upload it, delete it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Optional

from fleet_agent.commands.base import (
    RESUME,
    STEP_TIMEOUT_S,
    CommandRefusedError,
    CommandType,
    Context,
    Outcome,
)
from fleet_agent.errors import PortalError
from fleet_agent.journal import Entry
from fleet_agent.script_job import job_name
from fleet_agent.support_bundle import write_bundle
from fleet_agent.upload import upload_of

OPTIONS = {
    "include_logs": True,
    "include_config": True,
    "include_state": True,
    "include_containers": True,
    "include_recordings": False,
}


class Bundle(CommandType):
    """Payload: what to include, each true or false; see OPTIONS for what holds when left out."""

    name: ClassVar[str] = "bundle"
    step_timeout_s: ClassVar[Optional[int]] = STEP_TIMEOUT_S

    def check(self, payload: dict[str, Any], context: Context) -> dict[str, Any]:
        options = {name: payload.get(name, default) for name, default in OPTIONS.items()}
        bad = [name for name, value in options.items() if not isinstance(value, bool)]
        if bad:
            raise CommandRefusedError(f"{', '.join(bad)}: must be true or false.")
        return options

    def execute(self, entry: Entry, context: Context) -> Optional[Outcome]:
        path = _path(entry, context)
        try:
            # It is there when an earlier run of the agent had collected it and was cut off.
            notes = [] if path.exists() else _collected(path, entry, context)
            upload = upload_of(path, entry.command_id, context)
            answer = upload.send()
        except OSError as error:
            return Outcome("failed", error=f"The bundle could not be written: {error}")
        except PortalError as error:
            detail = f"The bundle could not be uploaded: {error}"
            return Outcome("failed", error=detail, failure_class="network")
        result = {"bundle_id": answer.get("id"), "size": upload.size, "sha256": upload.sha256}
        return Outcome("succeeded", result=result, output="\n".join(notes))

    def probe(self, entry: Entry, context: Context) -> Optional[Outcome]:
        # Collecting changes nothing, and the portal says how much of an upload it has.
        return RESUME

    def forget(self, entry: Entry, context: Context) -> None:
        path = _path(entry, context)
        for name in (path, _unfinished(path)):
            name.unlink(missing_ok=True)


def bundle_directory(state_dir: Path) -> Path:
    """Return where bundles wait for their upload."""
    return state_dir / "bundles"


def remove_other_bundles(state_dir: Path, *, wanted: set[str]) -> None:
    """Delete bundles that an earlier run of the agent left behind and nobody waits for."""
    for path in bundle_directory(state_dir).glob("*"):
        if path.name.partition(".")[0] not in wanted:
            path.unlink(missing_ok=True)


def _collected(path: Path, entry: Entry, context: Context) -> list[str]:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    unfinished = _unfinished(path)
    notes = write_bundle(
        unfinished,
        options=entry.arguments,
        store=context.store,
        recent_log=context.recent_log(),
        check=context.check_cancelled,
    )
    unfinished.replace(path)
    return notes


def _path(entry: Entry, context: Context) -> Path:
    attempt = int(entry.facts.get("attempt", entry.attempt))
    name = f"{job_name(entry.command_id, attempt)}.tar.gz"
    return bundle_directory(context.state_dir) / name


def _unfinished(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")

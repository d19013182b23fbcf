"""bundle: collect what helps to find a fault, upload it, delete it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar, Optional

from fleet_agent.commands.base import CommandRefusedError, CommandType, Context, Outcome
from fleet_agent.errors import PortalError
from fleet_agent.journal import Entry
from fleet_agent.pace import Backoff
from fleet_agent.support_bundle import write_bundle

UPLOAD_TIMEOUT_S = 120.0
UPLOAD_TRIES = 4
OPTIONS = {"include_logs": True, "include_config": True, "include_recordings": False}


class Bundle(CommandType):
    """Payload: `include_logs`, `include_config`, `include_recordings`, each true or false."""

    name: ClassVar[str] = "bundle"

    def check(self, payload: dict[str, Any], context: Context) -> dict[str, Any]:
        options = {name: payload.get(name, default) for name, default in OPTIONS.items()}
        bad = [name for name, value in options.items() if not isinstance(value, bool)]
        if bad:
            raise CommandRefusedError(f"{', '.join(bad)}: must be true or false.")
        return options

    def execute(self, entry: Entry, context: Context) -> Optional[Outcome]:
        path = bundle_directory(context.state_dir) / f"{entry.attempt}.tar.gz"
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            notes = write_bundle(
                path, options=entry.arguments, store=context.store, recent_log=context.recent_log()
            )
            return _uploaded(path, entry, context, notes)
        except OSError as error:
            return Outcome("failed", error=f"The bundle could not be written: {error}")
        except PortalError as error:
            return Outcome("failed", error=f"The bundle could not be uploaded: {error}")
        finally:
            path.unlink(missing_ok=True)


def bundle_directory(state_dir: Path) -> Path:
    return state_dir / "bundles"


def remove_leftovers(state_dir: Path) -> None:
    """Delete bundles that an earlier run of the agent left behind."""
    for path in bundle_directory(state_dir).glob("*"):
        path.unlink(missing_ok=True)


def _uploaded(path: Path, entry: Entry, context: Context, notes: list[str]) -> Outcome:
    digest = _sha256(path)
    answer = _upload(path, digest, entry, context)
    result = {"bundle_id": answer.get("id"), "size": path.stat().st_size, "sha256": digest}
    return Outcome("succeeded", result=result, output="\n".join(notes))


def _upload(path: Path, digest: str, entry: Entry, context: Context) -> dict[str, Any]:
    backoff = Backoff(base_s=1.0, cap_s=10.0)
    while True:
        try:
            with path.open("rb") as stream:
                return context.portal.call(
                    "POST",
                    f"/commands/{entry.command_id}/bundle",
                    body=stream,
                    headers={"Content-Type": "application/gzip", "X-Content-SHA256": digest},
                    read_timeout_s=UPLOAD_TIMEOUT_S,
                )
        except PortalError as error:  # noqa: PERF203 - waiting dwarfs it
            delay_s = backoff.delay_s(error)
            if not error.is_temporary or backoff.failures >= UPLOAD_TRIES:
                raise
            context.pause(delay_s)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()

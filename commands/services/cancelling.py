"""Taking a command back, and letting a held one go."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from audit import services as audit
from audit.services import Actor
from commands.errors import CommandAlreadyEnded, CommandNotHeld
from commands.models import Command, CommandBatch
from commands.services.rows import check_version, locked, moved
from common import limits


@transaction.atomic
def command_cancel(
    *,
    command: Command,
    actor: Actor,
    now: datetime,
    force: bool = False,
    timeout_s: int = limits.COMMAND_CANCEL_S,
    reason: str = "",
    error_code: str = "",
    expected_version: int | None = None,
    source: str = "api",
) -> Command:
    """Cancel a command that has not ended.

    One that waits, or any with `force`, is cancelled here. A device that holds it is asked to
    stop, and has `timeout_s` seconds for it; after that a sweep cancels the command whatever the
    device does. Raises CommandAlreadyEnded when the device or a sweep was faster, and
    VersionConflict when the command has moved since the caller looked.
    """
    row = locked(command)
    check_version(row, expected_version)
    if not row.is_open:
        raise CommandAlreadyEnded(
            f"Command {row.pk} has already {row.status}. Queue a new one if it is needed.",
            command_status=row.status,
            attempt=row.attempt,
            version=row.version,
        )
    waits = row.status == Command.Status.QUEUED
    if waits or force:
        code = error_code or ("" if waits else "cancel_forced")
        moved(row, source, **_cancelled(code=code, reason=reason, now=now))
    else:
        deadline = now + timedelta(seconds=timeout_s)
        asked = row.cancel_requested_at or now
        moved(row, source, cancel_requested_at=asked, cancel_deadline=deadline)
    said = {"status": row.status, "attempt": row.attempt}
    audit.record(
        actor=actor,
        organization=row.organization,
        action="command.cancel",
        target=row,
        after=said | ({"reason": reason} if reason else {}) | ({"force": True} if force else {}),
    )
    return row


def _cancelled(*, code: str, reason: str, now: datetime) -> dict[str, Any]:
    return {
        "status": Command.Status.CANCELLED,
        "finished_at": now,
        "error_code": code,
        "error": reason,
        "failure_class": "",
        "held_reason": "",
        "lease_expires_at": None,
        "run_deadline": None,
        "step_deadline": None,
        "cancel_deadline": None,
    }


@transaction.atomic
def command_release(
    *,
    command: Command,
    actor: Actor,
    now: datetime,
    expected_version: int | None = None,
    source: str = "api",
) -> Command:
    """Let a held command go; being offline for long does not hold it again.

    Raises CommandNotHeld, also for one a paused batch holds, or VersionConflict when it has moved
    since the caller looked.
    """
    row = locked(command)
    check_version(row, expected_version)
    if row.status != Command.Status.QUEUED or not row.held_reason or row.expires_at <= now:
        raise CommandNotHeld(
            f"Command {row.pk} is {row.status} and not held; there is nothing to release.",
            command_status=row.status,
            attempt=row.attempt,
            version=row.version,
        )
    if row.batch and row.batch.status == CommandBatch.Status.PAUSED:
        raise CommandNotHeld(
            f"Command {row.pk} is held because its batch “{row.batch.name}” is paused."
            " Resume the batch, and all of its commands go on.",
            command_status=row.status,
            attempt=row.attempt,
            version=row.version,
        )
    held = row.held_reason
    moved(row, source, held_reason="", reconnect=Command.Reconnect.RUN)
    audit.record(
        actor=actor,
        organization=row.organization,
        action="command.release",
        target=row,
        before={"held_reason": held},
    )
    return row

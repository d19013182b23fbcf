"""The sweep that moves batches: waves go out, rules are judged, windows close, all of it ends.

Every step is a transaction of its own over one locked batch. A target without a command is one
that was not sent, so a step that was cut off is simply taken again.
"""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import DatabaseError, transaction

from audit import services as audit
from commands import registry
from commands.models import BatchTarget, CommandBatch
from commands.options import Options
from commands.services.batch_commands import (
    commands_create_bulk,
    commands_hold,
    commands_let_go,
    commands_shut_out,
    wind_down,
)
from commands.services.batch_progress import WAITING, Progress, progress_of
from commands.services.batch_windows import Span, Window
from common import limits
from common.errors import DomainError

Status = CommandBatch.Status
# Of limits.BATCH_CHUNK devices, for one batch in one sweep.
STEPS = 10
_END_OF_SCHEDULE = "The end of the schedule came."
log = structlog.get_logger(__name__)


def batches_advance(*, now: datetime) -> int:
    """Move every batch as far as it goes now; return how many steps were taken.

    The batches take turns, so that a large one does not hold up the others.
    """
    moving: list[UUID] = list(
        CommandBatch.objects.moving().order_by("pk").values_list("pk", flat=True)
    )
    taken = 0
    for _ in range(STEPS):
        moving = [pk for pk in moving if _taken(pk, now=now)]
        taken += len(moving)
    return taken


def _taken(pk: UUID, *, now: datetime) -> bool:
    try:
        return batch_step(pk=pk, now=now)
    except DatabaseError:
        # A lock that did not come in time, say: this batch waits for the next sweep.
        log.exception("batch_step_failed", batch=str(pk))
        return False


@transaction.atomic
def batch_step(*, pk: UUID, now: datetime) -> bool:
    """Take the next step of one batch; say whether another one may follow at once.

    A batch somebody else moves at the moment is left to them.
    """
    rows = CommandBatch.objects.select_for_update(skip_locked=True, of=("self",))
    batch = rows.select_related("organization").moving().filter(pk=pk).first()
    if batch is None:
        return False
    if batch.is_over:
        wind_down(batch, now=now)
        return False
    if batch.end_at and batch.end_at <= now:
        return _end_of_schedule(batch, now=now)
    if batch.status == Status.SCHEDULED:
        return _begin(batch, now=now)
    if batch.status == Status.PAUSED:
        commands_hold(batch)
        _shut_out(batch, now=now)
        return False
    return _run(batch, now=now)


def _begin(batch: CommandBatch, *, now: datetime) -> bool:
    earliest = Options.stored(batch.options).not_before
    if any(moment and moment > now for moment in (batch.start_at, earliest)):
        return False
    _write(batch, status=Status.RUNNING, started_at=now, next_wave_at=now)
    return True


def _run(batch: CommandBatch, *, now: datetime) -> bool:
    commands_let_go(batch)
    span = _shut_out(batch, now=now)
    progress = progress_of(batch)
    if reason := _broken_rule(batch, progress):
        return _abort(batch, reason, now=now)
    if not progress.by_status[WAITING]:
        if not progress.open:
            _complete(batch, progress, now=now)
        return False
    if span and span.opens > now:
        return False
    return _send(batch, span, now=now) or _next_wave(batch, progress, now=now)


def _shut_out(batch: CommandBatch, *, now: datetime) -> Span | None:
    """Return the present or next opening of the window; outside of it nothing is begun."""
    if not batch.window:
        return None
    span = Window.stored(batch.window).span(now)
    if span.opens > now:
        commands_shut_out(batch, now=now)
    return span


def _broken_rule(batch: CommandBatch, progress: Progress) -> str:
    """Return the sentence of the first abort rule that is broken, or nothing."""
    for rule in batch.abort_rules:
        failures = progress.failures(rule["failure"])
        enough = progress.completed >= max(rule["min_completed"], 1)
        if enough and failures * 100 >= rule["threshold_percent"] * progress.completed:
            what = "ended badly" if rule["failure"] == "all" else rule["failure"].replace("_", " ")
            return (
                f"{failures} of {progress.completed} completed {what}:"
                f" the limit is {rule['threshold_percent']} %."
            )
    return ""


def _send(batch: CommandBatch, span: Span | None, *, now: datetime) -> bool:
    """Send the next commands of the waves that are out; say whether there were any."""
    waiting = BatchTarget.objects.filter(
        batch=batch, command__isnull=True, skipped="", wave__lte=batch.wave
    )
    targets = list(waiting.order_by("wave", "id")[: limits.BATCH_CHUNK])
    if not targets:
        return False
    try:
        prepared = registry.prepared(
            name=batch.kind, organization_id=batch.organization_id, payload=batch.payload
        )
    except DomainError as refusal:
        # What the command needs is gone since: a script that was withdrawn.
        return _abort(batch, refusal.message, now=now)
    commands_create_bulk(
        batch=batch,
        targets=targets,
        prepared=prepared,
        now=now,
        closes=span.closes if span else None,
    )
    return True


def _next_wave(batch: CommandBatch, progress: Progress, *, now: datetime) -> bool:
    """Begin the next wave when the pause is over, which begins when the last one is all out."""
    if batch.next_wave_at is None:
        _write(batch, next_wave_at=now + timedelta(seconds=batch.wave_pause_s))
    if batch.next_wave_at is None or batch.next_wave_at > now:
        return False
    _write(batch, wave=batch.wave + 1, next_wave_at=None)
    devices = progress.by_wave.get(batch.wave, Counter())[WAITING]
    _record(batch, "wave", wave=batch.wave + 1, of=len(batch.wave_sizes), devices=devices)
    return True


def _end_of_schedule(batch: CommandBatch, *, now: datetime) -> bool:
    if batch.end_behavior != CommandBatch.End.STOP:
        every = batch.end_behavior == CommandBatch.End.FORCE_CANCEL
        _finish(
            batch,
            Status.CANCELLED,
            _END_OF_SCHEDULE,
            now=now,
            cancelling=CommandBatch.Cancelling.ALL if every else CommandBatch.Cancelling.WAITING,
        )
        _record(batch, "cancel", reason=_END_OF_SCHEDULE, cancelled=wind_down(batch, now=now))
        return True
    waiting = BatchTarget.objects.filter(batch=batch, command__isnull=True, skipped="")
    stopped = waiting.update(skipped="was not reached before the end of the schedule")
    if stopped:
        _write(batch, reason=_END_OF_SCHEDULE)
        _record(batch, "stop", reason=_END_OF_SCHEDULE, not_sent=stopped)
    if batch.status == Status.PAUSED:
        commands_hold(batch)
    else:
        commands_let_go(batch)
    _shut_out(batch, now=now)
    progress = progress_of(batch)
    if not progress.open:
        _complete(batch, progress, now=now)
    return False


def _abort(batch: CommandBatch, reason: str, *, now: datetime) -> bool:
    _finish(batch, Status.ABORTED, reason, now=now, cancelling=CommandBatch.Cancelling.WAITING)
    _record(batch, "abort", reason=reason, cancelled=wind_down(batch, now=now))
    return True


def _complete(batch: CommandBatch, progress: Progress, *, now: datetime) -> None:
    _finish(batch, Status.COMPLETED, batch.reason, now=now)
    _record(batch, "complete", **progress.by_status)


def _finish(
    batch: CommandBatch, status: Status, reason: str, *, now: datetime, **changes: Any
) -> None:
    reason = reason[: limits.LINE_CHARS]
    _write(batch, status=status, finished_at=now, next_wave_at=None, reason=reason, **changes)


def _write(batch: CommandBatch, **changes: Any) -> None:
    for name, value in changes.items():
        setattr(batch, name, value)
    batch.save(update_fields=list(changes))


def _record(batch: CommandBatch, verb: str, **after: Any) -> None:
    audit.record(
        actor=None,
        organization=batch.organization,
        action=f"batch.{verb}",
        target=batch,
        after=after,
    )

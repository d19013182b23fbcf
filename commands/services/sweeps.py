"""What no device and no person does in time. Beat runs these; each may run twice, or two at once.

Rows somebody else works on are left for the next round. A round of one sweep that finds another
one at work does nothing.
"""

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Q, QuerySet

from accounts.models import Organization
from audit import services as audit
from commands.models import Command
from commands.services.retries import next_attempt_at
from common import limits
from common.db import only_one_runs

Sweep = Callable[..., dict[str, int]]
Rows = list[tuple[UUID, UUID]]

ROWS = 5_000
_IDLE: dict[str, Any] = {"lease_expires_at": None, "run_deadline": None, "step_deadline": None}


def _alone(sweep: Sweep) -> Sweep:
    """Run the sweep in a transaction of its own, unless another process runs it now."""

    @wraps(sweep)
    def run(*, now: datetime) -> dict[str, int]:
        with transaction.atomic():
            return sweep(now=now) if only_one_runs(f"commands.{sweep.__name__}") else {}

    return run


@_alone
def commands_expire(*, now: datetime) -> dict[str, int]:
    """End what waited too long, and what waits for a retired device; return how many of each."""
    return {
        "expired": _end(
            Command.objects.overdue(now),
            to="expired",
            now=now,
            error="Not begun before it expired.",
        ),
        "cancelled": _end(
            Command.objects.orphaned(),
            to="cancelled",
            now=now,
            error_code="retired",
            error="The device was retired.",
        ),
    }


@_alone
def leases_recover(*, now: datetime) -> dict[str, int]:
    """Put back what was handed out and never begun; return how many.

    After `limits.COMMAND_ATTEMPTS_MAX` times it times out; what somebody wants to stop is
    cancelled instead of handed out again.
    """
    lost = Command.objects.lease_lost(now).filter(expires_at__gt=now)
    stopping = Q(cancel_requested_at__isnull=False)
    too_often = Q(attempt__gte=limits.COMMAND_ATTEMPTS_MAX)
    words = {"error_code": "lease_lost", "error": "Handed out, and the device never began it."}
    return {
        "cancelled": _end(lost.filter(stopping), to="cancelled", now=now, **words),
        "timed_out": _end(lost.filter(too_often), to="timed_out", now=now, **words),
        "requeued": _requeue(lost.exclude(stopping | too_often), **words),
    }


@_alone
def runs_time_out(*, now: datetime) -> dict[str, int]:
    """End attempts that are over their time; what has another one is tried again later."""
    # An aggregate cannot be locked: the rows are, then counted.
    rows = _locked(Command.objects.stuck(now))
    late = Command.objects.filter(pk__in=[pk for pk, _ in rows]).annotate(
        used=Count("attempts", filter=Q(attempts__failure_class="timeout"))
    )
    again: list[Any] = []
    over: list[Any] = []
    for command in late:
        _time_out(command, now=now)
        (again if command.status == Command.Status.QUEUED else over).append(command)
    written = [
        *("status", "moved_by", "not_before", "started_at", "finished_at", "failure_class"),
        *("error_code", "error", "result", "cancel_deadline", *_IDLE),
    ]
    Command.objects.bulk_update([*again, *over], written, batch_size=500)
    _record_sweep(_keys(again), action="command.retry_later")
    _record_sweep(_keys(over), action="command.timed_out")
    return {"timed_out": len(over), "requeued": len(again)}


def _time_out(command: Any, *, now: datetime) -> None:
    whole = command.run_deadline is not None and command.run_deadline <= now
    at = next_attempt_at(command, failure_class="timeout", now=now, used=command.used)
    changes: dict[str, Any] = {
        **_IDLE,
        "moved_by": "sweep",
        "failure_class": Command.FailureClass.TIMEOUT,
        "error_code": "run_timeout" if whole else "step_timeout",
        "error": f"The run took longer than {command.run_timeout_s} s."
        if whole
        else "A step took longer than the device said it would.",
        "result": None,
    }
    if at:
        changes |= {"status": Command.Status.QUEUED, "not_before": at, "started_at": None}
    else:
        changes |= {
            "status": Command.Status.TIMED_OUT,
            "finished_at": now,
            "cancel_deadline": None,
        }
    for name, value in changes.items():
        setattr(command, name, value)


@_alone
def cancels_force(*, now: datetime) -> dict[str, int]:
    """Cancel what a device was asked to stop and did not stop in time; return how many."""
    return {
        "cancelled": _end(
            Command.objects.cancel_overdue(now),
            to="cancelled",
            now=now,
            error_code="cancel_forced",
            error="The device did not say in time that it stopped.",
        )
    }


@_alone
def reconnects_judge(*, now: datetime) -> dict[str, int]:
    """Drop or hold what waits for a device that is away for long; return how many of each."""
    away = Command.objects.silent_for_long(now)
    rows = _locked(away.filter(reconnect=Command.Reconnect.ASK))
    if rows:
        Command.objects.filter(pk__in=[pk for pk, _ in rows]).update(
            held_reason="The device was away for long. Release the command, or cancel it."
        )
        _record_sweep(rows, action="command.hold")
    return {
        "dropped": _end(
            away.filter(reconnect=Command.Reconnect.DROP),
            to="cancelled",
            now=now,
            error_code="reconnect_dropped",
            error="The device was away for longer than the command allows.",
        ),
        "held": len(rows),
    }


def _locked(commands: QuerySet[Command]) -> Rows:
    """Lock the rows nobody else works on; return (id, organisation id)."""
    rows = commands.select_for_update(skip_locked=True, of=("self",)).order_by("pk")
    return list(rows.values_list("pk", "organization_id")[:ROWS])


def _end(
    commands: QuerySet[Command], *, to: str, now: datetime, error: str, error_code: str = ""
) -> int:
    rows = _locked(commands)
    if not rows:
        return 0
    Command.objects.filter(pk__in=[pk for pk, _ in rows]).update(
        **_IDLE,
        status=to,
        moved_by="sweep",
        finished_at=now,
        cancel_deadline=None,
        held_reason="",
        failure_class=Command.FailureClass.TIMEOUT if to == "timed_out" else "",
        error_code=error_code,
        error=error,
    )
    _record_sweep(rows, action=f"command.{to}")
    return len(rows)


def _requeue(commands: QuerySet[Command], *, error_code: str, error: str) -> int:
    rows = _locked(commands)
    if not rows:
        return 0
    Command.objects.filter(pk__in=[pk for pk, _ in rows]).update(
        **_IDLE,
        status=Command.Status.QUEUED,
        moved_by="sweep",
        failure_class="",
        error_code=error_code,
        error=error,
    )
    _record_sweep(rows, action="command.requeue")
    return len(rows)


def _keys(commands: list[Any]) -> Rows:
    return [(command.pk, command.organization_id) for command in commands]


def _record_sweep(rows: Rows, *, action: str) -> None:
    """Write one entry per organisation."""
    by_organization: dict[UUID, list[UUID]] = defaultdict(list)
    for pk, organization_id in rows:
        by_organization[organization_id].append(pk)
    # In one order: two sweeps that end commands of the same organisations wait for each other.
    for organization in Organization.objects.filter(pk__in=by_organization).order_by("pk"):
        ids = by_organization[organization.pk]
        audit.record(
            actor=None,
            organization=organization,
            action=action,
            target=Command.objects.get(pk=ids[0]) if len(ids) == 1 else None,
            after={"count": len(ids), "commands": [str(pk) for pk in ids[:50]]},
        )

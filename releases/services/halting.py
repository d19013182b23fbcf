"""Stopping a rollout: at once for whoever has not begun."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet

from audit.services import Actor
from common import limits
from common.db import execute
from releases.errors import RolloutConflict
from releases.models import LIVE, WAITING, DeviceUpdate, Rollout
from releases.services.guardrails import COUNTS
from releases.services.rollbacks import is_rolling_back, rollback_begin
from releases.services.rollout_events import rollout_tell
from releases.services.update_rows import in_words

Status = Rollout.Status
_ROLLBACK_FROM = [*LIVE, Status.HALTED, Status.COMPLETED]

_TARGETS_FREE = """
UPDATE releases_rollouttarget t SET update_id = NULL
  FROM releases_deviceupdate u
 WHERE t.rollout_id = %(rollout)s AND u.id = t.update_id AND u.status = 'cancelled'
"""
_VERSIONS_BACK = """
UPDATE devices_device d SET target_version = u.from_version
  FROM releases_rollouttarget t JOIN releases_deviceupdate u ON u.id = t.update_id
 WHERE t.rollout_id = %(rollout)s AND u.status = 'cancelled' AND d.id = u.device_id
   AND d.target_version = u.to_version
"""


@transaction.atomic
def rollout_halt(
    *,
    rollout: Rollout,
    reason: str,
    actor: Actor | None,
    now: datetime,
    rule: dict[str, Any] | None = None,
) -> Rollout:
    """Stop a running or paused rollout; `rule` is the guardrail that fired.

    What is scheduled or offered is cancelled in the same transaction, of very many HALT_CHUNK: the
    sweep takes the rest, of which nothing is offered any more. It can be scheduled again once
    somebody resumes; what devices have begun runs to its end. A plan that says so is rolled back
    as well. Raises RolloutConflict when it is not running or paused.
    """
    _halt(rollout, reason=reason, rule=rule, actor=actor, now=now)
    if rollout.on_halt == Rollout.OnHalt.ROLLBACK:
        rollback_begin(rollout=rollout, reason=reason, actor=actor, now=now)
    return rollout


@transaction.atomic
def rollout_rollback(
    *, rollout: Rollout, reason: str, actor: Actor | None, now: datetime
) -> Rollout:
    """Bring every device back to the release it ran before.

    The rollout is halted first; it is *rolled back* once the sweep finds nothing left to do.
    Raises RolloutConflict when it never began or is rolled back already.
    """
    row = Rollout.objects.select_for_update().get(pk=rollout.pk)
    if row.status not in _ROLLBACK_FROM or is_rolling_back(row):
        raise _conflict(row, "rolled back")
    if row.status in LIVE:
        _halt(rollout, reason=reason, rule=None, actor=actor, now=now)
    rollback_begin(rollout=rollout, reason=reason, actor=actor, now=now)
    return rollout


def _halt(
    rollout: Rollout,
    *,
    reason: str,
    rule: dict[str, Any] | None,
    actor: Actor | None,
    now: datetime,
) -> None:
    row = Rollout.objects.select_for_update().get(pk=rollout.pk)
    # What counts from now on begins at nothing; what was seen until now stays beside it.
    seen = {name: row.evidence[name] for name in COUNTS if name in row.evidence}
    words = reason[: limits.LINE_CHARS]
    _move(
        rollout,
        LIVE,
        status=Status.HALTED,
        reason=words,
        halted_by_rule=rule,
        evidence={"halted_at": now.isoformat(), "until_halt": seen},
    )
    cancelled = waiting_cancel(rollout=rollout, reason=words, now=now)
    rollout_tell(rollout, "halt", words, actor=actor, now=now, cancelled=cancelled, rule=rule)


def halts_finish(*, now: datetime) -> int:
    """Cancel what a halt of very many updates has left; return how many."""
    waiting = DeviceUpdate.objects.filter(rollout=OuterRef("pk"), status__in=WAITING)
    left = Exists(waiting.exclude(kind=DeviceUpdate.Kind.ROLLBACK))
    halted = Rollout.objects.filter(left, status=Status.HALTED).order_by("pk")
    return sum(_halt_finish(pk, now=now) for pk in list(halted.values_list("pk", flat=True)))


@transaction.atomic
def _halt_finish(pk: UUID, *, now: datetime) -> int:
    rows = Rollout.objects.select_for_update(skip_locked=True, of=("self",))
    rollout = rows.filter(pk=pk, status=Status.HALTED).first()
    return waiting_cancel(rollout=rollout, reason=rollout.reason, now=now) if rollout else 0


def _waiting(rollout: Rollout) -> QuerySet[DeviceUpdate]:
    rows = DeviceUpdate.objects.filter(rollout=rollout, status__in=WAITING)
    return rows.exclude(kind=DeviceUpdate.Kind.ROLLBACK)


def waiting_cancel(*, rollout: Rollout, reason: str, now: datetime) -> int:
    """Cancel what no device has begun and set its targets free; return how many.

    Of very many not all at once: the offer refuses the rest, and the sweep comes for them.
    """
    # Whoever was told of it first: an offer may be begun at any moment.
    offered_first = F("offered_at").desc(nulls_last=True)
    next_ones = _waiting(rollout).order_by(offered_first, "pk")[: limits.HALT_CHUNK]
    cancelled = DeviceUpdate.objects.filter(
        pk__in=list(next_ones.values_list("pk", flat=True)), status__in=WAITING
    ).update(
        status=DeviceUpdate.Status.CANCELLED,
        finished_at=now,
        deadline_at=None,
        is_paused=False,
        error=reason[: limits.LINE_CHARS],
    )
    if cancelled:
        execute(_VERSIONS_BACK, {"rollout": rollout.pk})
        execute(_TARGETS_FREE, {"rollout": rollout.pk})
    return cancelled


def _move(rollout: Rollout, present: list[str], **changes: Any) -> None:
    if not Rollout.objects.filter(pk=rollout.pk, status__in=present).update(**changes):
        raise _conflict(Rollout.objects.get(pk=rollout.pk), "halted")
    for name, value in changes.items():
        setattr(rollout, name, value)


def _conflict(rollout: Rollout, what: str) -> RolloutConflict:
    return RolloutConflict(
        f"The rollout is {in_words(rollout)} and cannot be {what}. Look at it again, then decide.",
        rollout_status=rollout.status,
    )

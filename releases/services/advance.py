"""The sweep that moves rollouts: judged first, then who joins, soaks, and is next.

Every step is a transaction of its own over one locked rollout. A target without an update is one
whose turn has not come, so a step that was cut off is simply taken again.
"""

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import DatabaseError, transaction

from common.errors import DomainError
from releases.models import Rollout
from releases.services.guardrails import rollout_judge
from releases.services.halting import halts_finish, rollout_halt
from releases.services.places import places_free
from releases.services.rollout_events import event_add, rollout_record
from releases.services.scheduling import updates_schedule
from releases.services.soaking import is_done, soak_watch
from releases.services.targets import chosen_of, targets_add

Status = Rollout.Status
# How often a rollout looks for devices that have come to fit its selection.
JOIN_EVERY = timedelta(seconds=30)
log = structlog.get_logger(__name__)


def rollouts_advance(*, now: datetime) -> int:
    """Take one step with every live rollout; return how many updates were scheduled."""
    live: list[UUID] = list(Rollout.objects.live().order_by("pk").values_list("pk", flat=True))
    scheduled = sum(_step(pk, now) for pk in live)
    halts_finish(now=now)
    return scheduled


def _step(pk: UUID, now: datetime) -> int:
    try:
        return rollout_step(pk=pk, now=now)
    except (DatabaseError, DomainError):
        # A lock that did not come in time, say: this rollout waits for the next sweep.
        log.exception("rollout_step_failed", rollout=str(pk))
        return 0


@transaction.atomic
def rollout_step(*, pk: UUID, now: datetime) -> int:
    """Take the next step of one rollout; return how many updates were scheduled.

    A rollout somebody else moves at the moment is left to them.
    """
    rows = Rollout.objects.select_for_update(skip_locked=True, of=("self",))
    rollout = rows.select_related("organization", "release").live().filter(pk=pk).first()
    if rollout is None:
        return 0
    if verdict := rollout_judge(rollout=rollout, now=now):
        rollout_halt(rollout=rollout, reason=verdict.reason, actor=None, now=now, rule=verdict.rule)
        return 0
    _join(rollout, now)
    if rollout.status == Status.PAUSED:
        return 0
    soak_watch(rollout=rollout, now=now)
    places_free(rollout=rollout, now=now)
    scheduled = updates_schedule(rollout=rollout, now=now)
    if not scheduled and is_done(rollout=rollout):
        _complete(rollout, now)
    return scheduled


def _join(rollout: Rollout, now: datetime) -> None:
    """Take in devices that have come to fit the selection since."""
    if not rollout.include_new or not _looks_again(rollout, now):
        return
    try:
        with transaction.atomic():
            joined = targets_add(rollout=rollout, chosen=chosen_of(rollout), now=now)
    except DomainError as refusal:
        # The group it chose by is gone, say: those it has, it keeps.
        log.warning("rollout_join_refused", rollout=str(rollout.pk), why=refusal.message)
        return
    if joined:
        event_add(rollout, "joined", f"{joined} devices joined.", now, devices=joined)
        rollout_record(rollout, "join", actor=None, devices=joined)
    Rollout.objects.filter(pk=rollout.pk).update(joined_at=now)


def _looks_again(rollout: Rollout, now: datetime) -> bool:
    return rollout.joined_at is None or rollout.joined_at <= now - JOIN_EVERY


def _complete(rollout: Rollout, now: datetime) -> None:
    rollout.status = Status.COMPLETED
    rollout.finished_at = now
    rollout.save(update_fields=["status", "finished_at"])
    event_add(rollout, "completed", "Every device of the plan has ended.", now)
    rollout_record(rollout, "complete", actor=None)

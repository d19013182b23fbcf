"""Stopping a rollout for good, and bringing back what it updated."""

from datetime import datetime
from typing import Any

from django.db import transaction

from audit import services as audit
from audit.services import Actor
from common import limits
from releases.errors import RolloutConflict
from releases.models import LIVE, WAITING, DeviceUpdate, Rollout
from releases.services.rollout_events import event_add


@transaction.atomic
def rollout_halt(
    *,
    rollout: Rollout,
    reason: str,
    actor: Actor | None,
    now: datetime,
    rule: dict[str, Any] | None = None,
) -> Rollout:
    """Stop a live rollout: what waits is taken back, what devices have begun runs to its end."""
    _move(rollout, LIVE, "halted", reason=reason[: limits.LINE_CHARS], halted_by_rule=rule)
    waiting = DeviceUpdate.objects.filter(rollout=rollout, status__in=WAITING)
    cancelled = waiting.update(status="cancelled", finished_at=now)
    event_add(rollout, "halted", reason, now, cancelled=cancelled)
    _record(rollout, actor, "halt", reason)
    return rollout


@transaction.atomic
def rollout_rollback(
    *, rollout: Rollout, reason: str, actor: Actor | None, now: datetime
) -> Rollout:
    """End a rollout and bring back what it updated."""
    _move(rollout, [*LIVE, "halted", "completed"], "rolled_back",
          reason=reason[: limits.LINE_CHARS], finished_at=now)  # fmt: skip
    event_add(rollout, "rolled_back", reason, now)
    _record(rollout, actor, "rollback", reason)
    return rollout


def _move(rollout: Rollout, old: list[str], new: str, **changes: Any) -> None:
    rows = Rollout.objects.filter(pk=rollout.pk, status__in=old)
    moved = rows.update(status=new, **changes)
    rollout.refresh_from_db()
    if not moved:
        raise RolloutConflict(f"“{rollout.name}” is {rollout.get_status_display()}.")


def _record(rollout: Rollout, actor: Actor | None, verb: str, reason: str) -> None:
    audit.record(
        actor=actor,
        organization=rollout.organization,
        action=f"rollout.{verb}",
        target=rollout,
        after={"status": rollout.status, "reason": reason},
    )

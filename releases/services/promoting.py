"""Opening the next stage, widening the open one, letting the hold-back group in."""

from datetime import datetime, timedelta

from django.db import transaction

from accounts.principals import Principal
from common import limits
from releases.errors import RolloutConflict, RolloutRefused, SoakNotOver
from releases.models import LIVE, Rollout, RolloutStage, RolloutTarget
from releases.services.rollout_events import event_add, rollout_record
from releases.services.rollouts import stage_open, whole
from releases.services.targets import HOLDBACK


@transaction.atomic
def rollout_promote(
    *,
    rollout: Rollout,
    principal: Principal,
    now: datetime,
    target_segment: str | None = None,
    percentage: int | None = None,
    reason: str = "",
) -> Rollout:
    """Open the stage of a segment, or raise the percentage of the stage that is open.

    Before the soak time of the open stage is over, the next one takes a reason, which is kept.
    Raises SoakNotOver, RolloutRefused for a stage whose turn it is not and for a percentage that
    is no raise, RolloutConflict for a rollout that is not live.
    """
    whole(rollout, principal)
    rollout = _live(rollout)
    stages = list(rollout.stages.select_for_update().order_by("position"))
    if (target_segment is None) == (percentage is None):
        raise RolloutRefused("Name either a segment or a percentage.")
    if target_segment is not None:
        _next_stage(rollout, stages, target_segment, reason, principal, now)
    else:
        _raise(rollout, stages, percentage or 0, reason, principal, now)
    return rollout


@transaction.atomic
def rollout_release_holdback(
    *, rollout: Rollout, principal: Principal, now: datetime, reason: str = ""
) -> Rollout:
    """Let the hold-back group in: its devices wait for their turn like all others."""
    whole(rollout, principal)
    rollout = _live(rollout)
    held = RolloutTarget.objects.filter(rollout=rollout, left_out=HOLDBACK)
    count = held.update(left_out="")
    if not count:
        raise RolloutConflict(f"“{rollout.name}” holds nothing back.")
    rollout.holdback_percent = 0
    rollout.save(update_fields=["holdback_percent"])
    event_add(rollout, "holdback_released", f"{count} devices are no longer held back.", now,
              by=principal.label, reason=reason)  # fmt: skip
    rollout_record(rollout, "holdback_release", actor=principal, devices=count, reason=reason)
    return rollout


def soak_end(stage: RolloutStage) -> datetime | None:
    """Return when the soak time of a stage is over; None before it has begun."""
    if stage.soaking_since is None:
        return None
    return stage.soaking_since + timedelta(minutes=stage.soak_minutes)


def next_stage(stages: list[RolloutStage]) -> RolloutStage | None:
    """Return the first stage that is not open."""
    return next((one for one in stages if one.opened_at is None), None)


def open_stage(stages: list[RolloutStage]) -> RolloutStage | None:
    """Return the stage that was opened last."""
    return next((one for one in reversed(stages) if one.opened_at), None)


def _live(rollout: Rollout) -> Rollout:
    rows = Rollout.objects.select_for_update(of=("self",)).select_related("release", "organization")
    found = rows.filter(pk=rollout.pk, status__in=LIVE).first()
    if found is None:
        rollout.refresh_from_db()
        raise RolloutConflict(
            f"“{rollout.name}” is {rollout.get_status_display()}; this takes one that is running"
            " or paused.",
            rollout_status=rollout.status,
        )
    return found


def _next_stage(
    rollout: Rollout,
    stages: list[RolloutStage],
    segment: str,
    reason: str,
    principal: Principal,
    now: datetime,
) -> None:
    wanted = next((one for one in stages if one.segment == segment), None)
    if wanted is None:
        raise RolloutRefused(f"“{rollout.name}” has no {segment} stage.")
    if wanted.opened_at:
        raise RolloutConflict(f"The {segment} stage of “{rollout.name}” is open already.")
    following = next_stage(stages)
    if following and following.pk != wanted.pk:
        raise RolloutRefused(
            f"The {following.segment} stage comes before {segment}: open it first."
        )
    overridden = _soak_override(rollout, open_stage(stages), reason, principal, now)
    stage_open(rollout, wanted, principal.label, now)
    rollout_record(
        rollout,
        "promote",
        actor=principal,
        segment=segment,
        reason=reason,
        soak_overridden=overridden,
    )


def _soak_override(
    rollout: Rollout,
    stage: RolloutStage | None,
    reason: str,
    principal: Principal,
    now: datetime,
) -> bool:
    """Say whether the soak time of the open stage is cut short; keep why on that stage."""
    if stage is None:
        return False
    end = soak_end(stage)
    if end and end <= now:
        return False
    if not reason.strip():
        when = f"ends {end:%Y-%m-%d %H:%M} UTC" if end else "has not begun"
        raise SoakNotOver(
            f"The soak time of the {stage.segment} stage {when}. Wait for it, or give a reason"
            " why not.",
            ends_at=end.isoformat() if end else None,
        )
    stage.override_reason = reason[: limits.LINE_CHARS]
    stage.overridden_by = principal.label[: limits.LINE_CHARS]
    stage.save(update_fields=["override_reason", "overridden_by"])
    event_add(rollout, "soak_overridden", f"The soak time of {stage.segment} was cut short.", now,
              segment=stage.segment, by=principal.label, reason=reason)  # fmt: skip
    return True


def _raise(
    rollout: Rollout,
    stages: list[RolloutStage],
    percentage: int,
    reason: str,
    principal: Principal,
    now: datetime,
) -> None:
    stage = open_stage(stages)
    if stage is None:
        raise RolloutConflict(f"No stage of “{rollout.name}” is open.")
    before = stage.percentage
    if percentage <= before:
        raise RolloutRefused(
            f"The {stage.segment} stage is at {before} %: a percentage is only raised. Pause or"
            " halt the rollout to stop it.",
            errors={"rolloutPercentage": [f"Above {before}."]},
        )
    stage.percentage = percentage
    # More devices have come in: whether enough of them have ended is counted anew.
    stage.soaking_since = None
    stage.save(update_fields=["percentage", "soaking_since"])
    event_add(rollout, "percentage_raised", f"{stage.segment}: {before} % to {percentage} %.", now,
              by=principal.label, reason=reason)  # fmt: skip
    rollout_record(
        rollout,
        "promote",
        actor=principal,
        before={"percentage": before},
        segment=stage.segment,
        percentage=percentage,
        reason=reason,
    )

"""What is done to the rollout of a release, whoever does not want to know which one that is."""

from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from accounts.principals import Principal
from devices.models import Device
from releases.errors import RolloutConflict
from releases.models import UNSTARTED, Release, Rollout
from releases.services.halting import rollout_rollback
from releases.services.plans import Plan
from releases.services.promoting import rollout_promote
from releases.services.rollouts import (
    rollout_create,
    rollout_pause,
    rollout_resume,
    rollout_start,
    whole,
)

_ENDED = ["completed", "rolled_back"]


@transaction.atomic
def release_promote(
    *,
    release: Release,
    principal: Principal,
    now: datetime,
    target_segment: str | None = None,
    percentage: int | None = None,
    reason: str = "",
) -> Rollout:
    """Bring a release further: to the next segment, or to more per cent of the open one.

    Promoting to canary starts its draft, or a plan of the usual making over all devices of its
    roles where there is none. Raises what starting and promoting raise.
    """
    rollout = unended(release, principal)
    if target_segment == Device.Segment.CANARY and (
        rollout is None or rollout.status == Rollout.Status.DRAFT
    ):
        rollout = rollout or rollout_create(
            release=release,
            name=f"Release {release.version}",
            plan=Plan(),
            principal=principal,
            now=now,
        )
        return rollout_start(rollout=rollout, principal=principal, now=now, reason=reason)
    return rollout_promote(
        rollout=_needed(release, rollout),
        principal=principal,
        now=now,
        target_segment=target_segment,
        percentage=percentage,
        reason=reason,
    )


def release_pause(
    *, release: Release, principal: Principal, now: datetime, reason: str = ""
) -> Rollout:
    """Pause the rollout of a release."""
    rollout = _needed(release, unended(release, principal))
    return rollout_pause(rollout=rollout, principal=principal, now=now, reason=reason)


def release_resume(
    *, release: Release, principal: Principal, now: datetime, reason: str = ""
) -> Rollout:
    """Let the rollout of a release go on."""
    rollout = _needed(release, unended(release, principal))
    return rollout_resume(rollout=rollout, principal=principal, now=now, reason=reason)


def release_rollback(
    *, release: Release, principal: Principal, now: datetime, reason: str
) -> Rollout:
    """Roll the rollout of a release back; one that was completed as well."""
    rollout = unended(release, principal)
    if rollout is None or rollout.status in UNSTARTED:
        completed = _visible(release, principal).filter(status=Rollout.Status.COMPLETED)
        rollout = completed.order_by("-pk").first() or rollout
    rollout = _needed(release, rollout)
    whole(rollout, principal)
    return rollout_rollback(rollout=rollout, reason=reason, actor=principal, now=now)


def unended(release: Release, principal: Principal) -> Rollout | None:
    """Return the rollout of a release that has not ended, as far as the principal sees it."""
    return _visible(release, principal).exclude(status__in=_ENDED).first()


def _visible(release: Release, principal: Principal) -> QuerySet[Rollout]:
    rows = Rollout.objects.visible_to(principal).select_related("release", "organization")
    return rows.filter(release=release)


def _needed(release: Release, rollout: Rollout | None) -> Rollout:
    if rollout is None:
        raise RolloutConflict(
            f"Release {release.version} has no rollout that goes on: promote it to canary, or plan"
            " a rollout."
        )
    return rollout

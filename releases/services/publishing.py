"""Releases become final: published for good, or withdrawn with a reason."""

from datetime import datetime

from django.db import transaction
from django.db.models import Max

from accounts.models import Organization
from audit import services as audit
from audit.services import Actor
from common import limits
from releases.errors import ReleaseConflict, ReleaseInvalid
from releases.models import Release, Rollout
from releases.services.halting import rollout_halt
from releases.services.manifests import manifests_publish, manifests_withdraw
from releases.services.releases import release_locked

ERROR = "error"


@transaction.atomic
def release_publish(*, release: Release, actor: Actor, now: datetime) -> Release:
    """Make a validated release final, count it and sign its manifests.

    Raises ReleaseInvalid with `findings` when its last validation found errors, ReleaseConflict
    when it was not validated or is published already, TrustConflict as `manifests_publish`.
    """
    # One at a time in an organisation: the counter has no gaps and no doubles.
    Organization.objects.select_for_update(no_key=True).get(pk=release.organization_id)
    row = release_locked(release)
    _expect_publishable(row)
    newest = Release.objects.filter(organization_id=row.organization_id).aggregate(Max("counter"))
    counter = int(newest["counter__max"] or 0) + 1
    moved = Release.objects.filter(pk=row.pk, state=Release.State.VALIDATED).update(
        state=Release.State.PUBLISHED,
        counter=counter,
        published_at=now,
        published_by=actor.label[: limits.LINE_CHARS],
    )
    if not moved:
        raise ReleaseConflict("The release was changed meanwhile. Look at it again.")
    row.refresh_from_db()
    manifests_publish(release=row, actor=actor, now=now)
    audit.record(
        actor=actor,
        organization=row.organization,
        action="release.publish",
        target=row,
        after={
            "commit": row.commit,
            "counter": counter,
            "bundles": {one.role_name: one.sha256 for one in row.artifacts.order_by("role")},
        },
    )
    return row


def _expect_publishable(row: Release) -> None:
    if row.state == Release.State.VALIDATED:
        return
    if not row.is_changeable:
        raise ReleaseConflict(f"Release {row.version} is {row.state} already.")
    errors = [one for one in row.findings if one["severity"] == ERROR]
    if errors:
        raise ReleaseInvalid(
            f"The last validation of release {row.version} found {len(errors)} errors. "
            "Mend them, upload the bundle again and validate.",
            findings=errors,
        )
    raise ReleaseConflict(f"Release {row.version} is not validated. Validate it first.")


@transaction.atomic
def release_withdraw(*, release: Release, reason: str, actor: Actor, now: datetime) -> Release:
    """Let no device get the release any more; those that run it keep it.

    Its live rollout halts in the same transaction. Raises ReleaseConflict when it is not published.
    """
    Organization.objects.select_for_update(no_key=True).get(pk=release.organization_id)
    moved = Release.objects.filter(pk=release.pk, state=Release.State.PUBLISHED).update(
        state=Release.State.WITHDRAWN,
        withdrawn_at=now,
        withdrawn_by=actor.label[: limits.LINE_CHARS],
        withdrawn_reason=reason,
    )
    row = release_locked(release)
    if not moved:
        raise ReleaseConflict(
            f"Release {row.version} is {row.state}; only a published one can be withdrawn."
        )
    manifests_withdraw(release=row, actor=actor, now=now)
    audit.record(
        actor=actor,
        organization=row.organization,
        action="release.withdraw",
        target=row,
        after={"reason": reason},
    )
    for rollout in Rollout.objects.filter(release=row).live().select_related("organization"):
        words = f"The release was withdrawn: {reason}"[: limits.LINE_CHARS]
        rollout_halt(rollout=rollout, reason=words, actor=actor, now=now)
    return row

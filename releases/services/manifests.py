"""Manifests of releases, and how far the signatures on them reach."""

import re
from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from audit.services import Actor, record
from releases.errors import TrustConflict
from releases.models import Artifact, Release, TrustMetadata, TrustTarget
from releases.services.trust_drafts import draft_put, drafts_publish
from releases.services.trust_repository import (
    InForce,
    in_force,
    next_of,
    repository_ensure,
    repository_lock,
    signed_online,
    snapshot_publish,
)
from releases.trust.documents import manifest_of
from releases.trust.paths import GENERAL, STAGED, manifest_path
from releases.trust.roles import ROOT, TARGETS, TIMESTAMP

REACHES = (STAGED, GENERAL)
# A slash would leave the pattern its role is delegated, anything else is quoted in addresses.
ROLE_IN_PATH = re.compile(r"[^/\\\x00-\x1f\x7f]+")


@transaction.atomic
def manifests_publish(*, release: Release, actor: Actor | None, now: datetime) -> None:
    """Write and sign the manifests of a release that is being published, in its transaction.

    What devices of `staged` believe is signed at once; what `general` needs waits for its keys.
    Raises TrustConflict when the organisation's keys do not allow it.
    """
    repository = repository_ensure(organization=release.organization, actor=actor, now=now)
    artifacts = list(Artifact.objects.filter(release=release).stored())
    for artifact in artifacts:
        _write(release, artifact, now=now)
    _list_anew(repository, actor=actor, now=now)
    record(
        actor=actor,
        organization=release.organization,
        action="trust.list",
        target=release,
        after={"manifests": [artifact.role_name for artifact in artifacts]},
    )


def _write(release: Release, artifact: Artifact, *, now: datetime) -> None:
    if not ROLE_IN_PATH.fullmatch(artifact.role_name):
        raise TrustConflict(
            f"The role “{artifact.role_name}” cannot stand in the path of a manifest. Use a role"
            " without slashes."
        )
    content = manifest_of(
        release=release, artifact=artifact, organization=release.organization.slug
    )
    TrustTarget.objects.bulk_create(
        TrustTarget(
            organization=release.organization,
            release=release,
            artifact=artifact,
            path=manifest_path(trust=trust, role=artifact.role, version=release.version),
            sha256=sha256(content).hexdigest(),
            content=content,
            created_at=now,
        )
        for trust in REACHES
    )


@transaction.atomic
def manifests_withdraw(*, release: Release, actor: Actor | None, now: datetime) -> None:
    """Take a release's manifests out of the signed metadata: no device accepts them any more.

    Out of `general` they are when its keys have signed again; the portal offers the release to
    nobody meanwhile. Never refused: a portal that cannot sign can still stop offering.
    """
    repository_lock(release.organization)
    listed = TrustTarget.objects.filter(release=release, withdrawn_at__isnull=True)
    if not listed.update(withdrawn_at=now):
        return
    if settings.SIGNING_KEY:
        _list_anew(in_force(release.organization), actor=actor, now=now)
    record(
        actor=actor,
        organization=release.organization,
        action="trust.unlist",
        target=release,
    )


def _list_anew(repository: InForce, *, actor: Actor | None, now: datetime) -> None:
    """Sign, or have signed, what `staged` and `general` have to list now."""
    if not repository.exists or not repository.is_portals(TIMESTAMP):
        # What this portal signed now no device would believe; `trust_status` says what to do.
        return
    left = signed_online(repository, REACHES, now=now)
    for role in left:
        if role == GENERAL:
            metadata = next_of(repository, role, now=now)
            draft_put(repository, role, metadata, actor=actor, now=now)
    snapshot_publish(repository, now=now)
    if left:
        drafts_publish(repository, actor=actor, now=now)


def reach_of(release: Release) -> frozenset[str]:
    """Return which of staged and general vouch for the release now."""
    return reaches_of([release]).get(release.pk, frozenset())


def reaches_of(releases: Iterable[Release]) -> dict[UUID, frozenset[str]]:
    """Return for each release which of staged and general vouch for all its manifests now."""
    asked = list(releases)
    rows = TrustTarget.objects.filter(release__in=[release.pk for release in asked])
    found: dict[UUID, dict[str, bool]] = {}
    for release_id, path, signed_at, withdrawn_at in rows.values_list(
        "release_id", "path", "signed_at", "withdrawn_at"
    ):
        trust, _, _ = path.partition("/")
        reach = found.setdefault(release_id, {})
        is_signed = signed_at is not None and withdrawn_at is None
        reach[trust] = reach.get(trust, True) and is_signed
    valid = _unexpired({release.organization_id for release in asked})
    return {
        release.pk: frozenset(
            trust for trust, is_signed in found.get(release.pk, {}).items() if is_signed
        )
        & valid.get(release.organization_id, frozenset())
        for release in asked
    }


def _unexpired(organizations: set[UUID]) -> dict[UUID, frozenset[str]]:
    """Return which of staged and general have a chain of signatures that has not expired."""
    rows = TrustMetadata.objects.filter(
        organization__in=organizations, role__in=[ROOT, TARGETS, *REACHES]
    ).order_by("organization", "role", "-version")
    newest = rows.distinct("organization", "role").annotate(asked_at=Now())
    valid: dict[UUID, set[str]] = {}
    for organization_id, role, expires_at, asked_at in newest.values_list(
        "organization_id", "role", "expires_at", "asked_at"
    ):
        if expires_at > asked_at:
            valid.setdefault(organization_id, set()).add(role)
    return {
        organization_id: frozenset(roles & {*REACHES}) if {ROOT, TARGETS} <= roles else frozenset()
        for organization_id, roles in valid.items()
    }

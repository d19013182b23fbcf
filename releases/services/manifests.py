"""Manifests of releases, and how far the signatures on them reach."""

import re
from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from django.conf import settings
from django.db import transaction

from audit.services import Actor, record
from common.db import fetch_all
from releases.errors import TrustConflict
from releases.models import Artifact, Release, TrustTarget
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
# What stands above both.
CHAIN = [ROOT, TARGETS]
# A slash would leave the pattern its role is delegated, anything else is quoted in addresses.
ROLE_IN_PATH = re.compile(r"[^/\\\x00-\x1f\x7f]+")


# Every manifest of the release is listed, and no signature above it has expired.
REACHES_SQL = """
SELECT t.release_id, t.trust
  FROM (SELECT release_id, organization_id, split_part(path, '/', 1) AS trust
          FROM releases_trusttarget WHERE release_id = ANY(%(releases)s)
         GROUP BY 1, 2, 3
        HAVING bool_and(signed_at IS NOT NULL AND withdrawn_at IS NULL)) t
 WHERE (SELECT bool_and(coalesce((SELECT m.expires_at > now() FROM releases_trustmetadata m
                                   WHERE m.organization_id = t.organization_id
                                     AND m.role = above.role
                                   ORDER BY m.version DESC LIMIT 1), false))
          FROM unnest(%(chain)s::text[] || t.trust) above(role))
"""


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
    asked = [release.pk for release in releases]
    if not asked:
        return {}
    rows = fetch_all(REACHES_SQL, {"releases": asked, "chain": CHAIN})
    found: dict[UUID, set[str]] = {pk: set() for pk in asked}
    for release_id, trust in rows:
        found[release_id].add(trust)
    return {pk: frozenset(trusts) for pk, trusts in found.items()}

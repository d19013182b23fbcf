"""Manifests of releases, and how far the signatures on them reach."""

from datetime import datetime

from audit.services import Actor
from releases.models import Release
from releases.trust.paths import GENERAL, STAGED


def manifests_publish(*, release: Release, actor: Actor | None, now: datetime) -> None:
    """Write and sign the manifests of a release that is being published, in its transaction.

    Raises TrustConflict when the organisation's keys do not allow it.
    """


def manifests_withdraw(*, release: Release, actor: Actor | None, now: datetime) -> None:
    """Take a release's manifests out of the signed metadata: no device accepts them any more."""


def reach_of(release: Release) -> frozenset[str]:
    """Return which of staged and general vouch for the release now."""
    return frozenset({STAGED, GENERAL})

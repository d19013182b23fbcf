"""The sweep that keeps what the portal signs from expiring, and tells when others must sign."""

from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Q

from accounts.models import Organization
from common import limits
from common.errors import DomainError
from releases.models import TrustMetadata
from releases.services.trust_repository import (
    InForce,
    in_force,
    repository_lock,
    signed_online,
    snapshot_publish,
    timestamp_publish,
)
from releases.services.trust_status import trust_status
from releases.trust.roles import (
    GENERAL,
    LIFETIMES,
    ROLES,
    ROOT,
    SNAPSHOT,
    STAGED,
    TARGETS,
    TIMESTAMP,
)

log = structlog.get_logger(__name__)
# How much of its time may be left: half, and for what lives long no more than keepers are told.
BEFORE = {
    role: min(lifetime / 2, timedelta(days=limits.TRUST_WARN_DAYS))
    for role, lifetime in LIFETIMES.items()
}
SUPERSEDED = timedelta(days=limits.TRUST_SUPERSEDED_DAYS)


def trust_refresh(*, now: datetime) -> int:
    """Sign again what the portal may sign before it expires; return how many repositories.

    One organisation's trouble does not keep the others waiting.
    """
    if not settings.SIGNING_KEY:
        return 0
    due = Organization.objects.filter(pk__in=_due(now)).order_by("pk")
    for organization in due:
        try:
            # Its own transaction: whoever publishes waits for this repository only.
            with transaction.atomic():
                _refresh(organization, now=now)
        except (DomainError, DatabaseError, ValueError):
            log.exception("trust_refresh_failed", organization=organization.slug)
    _superseded_drop(now)
    return len(due)


def _due(now: datetime) -> set[UUID]:
    """Return the organisations with metadata that does not live long any more."""
    newest = TrustMetadata.objects.order_by("organization", "role", "-version").distinct(
        "organization", "role"
    )
    old = Q()
    for role in ROLES:
        old |= Q(role=role, expires_at__lte=now + BEFORE[role])
    rows = TrustMetadata.objects.filter(old, pk__in=newest.values("pk"))
    return set(rows.values_list("organization_id", flat=True).distinct())


def _refresh(organization: Organization, *, now: datetime) -> None:
    repository_lock(organization)
    repository = in_force(organization)
    for warning in trust_status(organization=organization, now=now).warnings:
        log.warning("trust_needs_somebody", organization=organization.slug, warning=warning)
    if not repository.is_portals(TIMESTAMP):
        return
    due = [role for role in (ROOT, TARGETS, GENERAL, STAGED) if _is_old(repository, role, now)]
    mine = [role for role in due if repository.is_portals(role)]
    signed_online(repository, mine, now=now)
    if any(role != ROOT for role in mine) or _is_old(repository, SNAPSHOT, now):
        snapshot_publish(repository, now=now)
    elif _is_old(repository, TIMESTAMP, now):
        timestamp_publish(repository, now=now)


def _is_old(repository: InForce, role: str, now: datetime) -> bool:
    return repository.rows[role].expires_at <= now + BEFORE[role]


def _superseded_drop(now: datetime) -> None:
    """Delete what expired long ago. Roots stay: a device that was away walks through all."""
    gone = TrustMetadata.objects.exclude(role=ROOT).filter(expires_at__lt=now - SUPERSEDED)
    newest = TrustMetadata.objects.order_by("organization", "role", "-version").distinct(
        "organization", "role"
    )
    gone.exclude(pk__in=newest.values("pk")).delete()

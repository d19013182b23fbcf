"""Which bundles go: too old, over the organisation's quota, never finished; and stray files."""

import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Case, F, Q, When

from accounts.models import Organization
from audit import services as audit
from commands.models import SupportBundle
from commands.models.commands import OPEN

MEGABYTE = 1024 * 1024
# A file without a row is left alone so long: its row may not be committed yet.
STRAY_AFTER = timedelta(hours=1)
_FOLDERS = ("quarantine", "bundles")
_AT_ONCE = 500


def bundles_retire(*, now: datetime) -> dict[str, int]:
    """Remove what is no longer kept; return how many bundles, and how many stray files."""
    removed = 0
    for organization in Organization.objects.order_by("pk"):
        removed += _retire_of(organization, now)
    return {"bundles": removed, "files": strays_remove(now=now)}


def strays_remove(*, now: datetime) -> int:
    """Remove files that no bundle names: of devices that were deleted, or of a crash."""
    named = {
        name
        for pair in SupportBundle.objects.values_list("quarantine", "file")
        for name in pair
        if name
    }
    removed = 0
    before = (now - STRAY_AFTER).timestamp()
    root = Path(default_storage.path(""))
    for folder in _FOLDERS:
        for place, _folders, names in os.walk(root / folder):
            for name in names:
                path = Path(place) / name
                if str(path.relative_to(root)) not in named and path.stat().st_mtime < before:
                    path.unlink(missing_ok=True)
                    removed += 1
    return removed


@transaction.atomic
def _retire_of(organization: Organization, now: datetime) -> int:
    rows = SupportBundle.objects.filter(organization=organization)
    # An upload whose command has ended is never finished.
    stale = Q(status="uploading") & ~Q(command__status__in=OPEN)
    going = set(rows.filter(Q(expires_at__lte=now) | stale).values_list("pk", flat=True)[:_AT_ONCE])
    # The days the organisation keeps them may have become fewer since.
    oldest = now - timedelta(days=organization.bundle_retention_days)
    going |= set(rows.filter(created_at__lte=oldest).values_list("pk", flat=True)[:_AT_ONCE])
    going |= _over_quota(organization, going)
    _remove(organization, going)
    return len(going)


def _over_quota(organization: Organization, going: set[UUID]) -> set[UUID]:
    """Return the bundles beyond the quota, the oldest first, a device's last good one last."""
    rows = SupportBundle.objects.filter(organization=organization).exclude(pk__in=going)
    # What lies on the disk of each: as sent until it was processed, as kept from then on.
    on_disk = Case(When(quarantine="", then=F("kept_size")), default=F("received"))
    listed = list(
        rows.exclude(status="processing")
        .order_by("id")
        .annotate(held=on_disk)
        .values_list("pk", "held")
    )
    over = sum(held for _, held in listed) - organization.bundle_quota_mb * MEGABYTE
    if over <= 0:
        return set()
    good = rows.filter(status="ready", device_health="healthy").order_by("device_id", "-id")
    spared = set(good.distinct("device_id").values_list("pk", flat=True))
    listed.sort(key=lambda row: row[0] in spared)
    chosen = set()
    for pk, held in listed:
        if over <= 0:
            break
        if held:
            chosen.add(pk)
            over -= held
    return chosen


def _remove(organization: Organization, going: Iterable[UUID]) -> None:
    rows = SupportBundle.objects.filter(pk__in=list(going)).exclude(status="processing")
    locked = list(rows.select_for_update(skip_locked=True, of=("self",)))
    if not locked:
        return
    names = [field.name for row in locked for field in (row.quarantine, row.file) if field.name]
    audit.record(
        actor=None,
        organization=organization,
        action="bundle.retire",
        target=locked[0] if len(locked) == 1 else None,
        after={"count": len(locked), "bundles": [str(row.pk) for row in locked[:50]]},
    )
    SupportBundle.objects.filter(pk__in=[row.pk for row in locked]).delete()
    transaction.on_commit(lambda: _delete_files(names))


def _delete_files(names: list[str]) -> None:
    for name in names:
        default_storage.delete(name)

"""Which bundles go: of old releases that nothing runs, rolls out, or could go back to."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from django.core.files.storage import Storage, default_storage
from django.db import transaction

from accounts.models import Organization
from audit import services as audit
from common import limits
from common.db import only_one_runs
from devices.models import Device, DeviceState
from releases.models import OPEN, STOPPED, Artifact, DeviceUpdate, Release, Rollout
from releases.services.releases import files_forget
from releases.services.uploads import BUNDLES, STAGING
from releases.storages import artifact_storage

# Why a bundle stays.
REASONS = {
    "draft": "The release is not published yet.",
    "newest": f"It is one of the {limits.RELEASES_KEPT} newest published releases.",
    "rollout": "A rollout of it has not ended.",
    "running": "A device runs it.",
    "update": "A device is being brought to it.",
    "known_good": "It is the last one that was proven to work on a device.",
    "way_back": "It is what a device ran before the one that works there.",
}
# A file without a row is left alone so long: its row may not be committed yet.
STRAY_AFTER = timedelta(days=1)


@dataclass(frozen=True)
class Judged:
    """A stored bundle, and why it stays; without any of REASONS it goes."""

    artifact: Artifact
    reasons: list[str]


def retention_judge(*, organization: Organization) -> list[Judged]:
    """Return every stored bundle of the organisation with the reasons that keep it."""
    rows = Artifact.objects.stored().filter(organization=organization)
    artifacts = list(rows.select_related("release").defer("files").order_by("-release_id", "role"))
    by_id, by_version = _kept_ids(organization), _kept_versions(organization)
    return [
        Judged(
            artifact=one,
            reasons=[
                reason
                for reason in REASONS
                if one.release_id in by_id.get(reason, ())
                or one.release.version in by_version.get(reason, ())
            ],
        )
        for one in artifacts
    ]


def _kept_ids(organization: Organization) -> dict[str, set[UUID]]:
    releases = Release.objects.filter(organization=organization)
    counted = releases.filter(counter__isnull=False).order_by("-counter")
    rollouts = Rollout.objects.filter(organization=organization).exclude(status__in=STOPPED)
    updates = DeviceUpdate.objects.filter(organization=organization, release__isnull=False)
    opened = updates.filter(status__in=OPEN)
    good = updates.filter(status=DeviceUpdate.Status.VERIFIED).order_by("device_id", "-id")
    last_good = DeviceUpdate.objects.filter(pk__in=good.distinct("device_id").values("pk"))
    return {
        "draft": set(releases.filter(counter=None).values_list("pk", flat=True)),
        "newest": set(counted.values_list("pk", flat=True)[: limits.RELEASES_KEPT]),
        "rollout": set(rollouts.values_list("release_id", flat=True).distinct()),
        "update": {pk for pk in opened.values_list("release_id", flat=True).distinct() if pk},
        "known_good": {
            pk for pk in last_good.values_list("release_id", flat=True).distinct() if pk
        },
    }


def _kept_versions(organization: Organization) -> dict[str, set[str]]:
    devices = Device.objects.filter(organization=organization).present()
    states = DeviceState.objects.filter(device__in=devices).exclude(version="")
    updates = DeviceUpdate.objects.filter(organization=organization, device__in=devices)
    good = updates.filter(status=DeviceUpdate.Status.VERIFIED).order_by("device_id", "-id")
    last_good = DeviceUpdate.objects.filter(pk__in=good.distinct("device_id").values("pk"))
    return {
        "running": set(states.values_list("version", flat=True).distinct()),
        "way_back": set(last_good.values_list("from_version", flat=True).distinct()),
    }


@transaction.atomic
def artifacts_retire(*, now: datetime) -> dict[str, int]:
    """Remove the bundles nothing keeps, and what uploads left; return how many of each."""
    if not only_one_runs("artifacts_retire"):
        return {"bundles": 0, "uploads": 0, "files": 0}
    removed = sum(_retire_of(one, now=now) for one in Organization.objects.order_by("pk"))
    return {"bundles": removed, "uploads": _uploads_forget(now=now), "files": _strays(now=now)}


def _retire_of(organization: Organization, *, now: datetime) -> int:
    going = [one.artifact for one in retention_judge(organization=organization) if not one.reasons]
    for artifact in going:
        # One that was locked by somebody's upload or publishing stays until the next round.
        moved = Artifact.objects.stored().filter(pk=artifact.pk)
        if not moved.update(status=Artifact.Status.REMOVED, removed_at=now, file=""):
            continue
        files_forget([artifact])
        audit.record(
            actor=None,
            organization=organization,
            action="artifact.remove",
            target=artifact,
            before={
                "release": artifact.release.version,
                "role": artifact.role_name,
                "size": artifact.size,
                "sha256": artifact.sha256,
            },
        )
    return len(going)


def _uploads_forget(*, now: datetime) -> int:
    """Throw away uploads that nobody went on with: their file has not grown for so long."""
    rows = Artifact.objects.filter(status=Artifact.Status.UPLOADING)
    old = list(rows.filter(created_at__lt=now - limits.ARTIFACT_UPLOAD_LEFT))
    left = [one for one in old if _is_old(one.staged, now - limits.ARTIFACT_UPLOAD_LEFT)]
    files_forget(left)
    Artifact.objects.filter(
        pk__in=[one.pk for one in left], status=Artifact.Status.UPLOADING
    ).delete()
    return len(left)


def _is_old(staged: str, before: datetime) -> bool:
    try:
        return Path(default_storage.path(staged)).stat().st_mtime < before.timestamp()
    except FileNotFoundError:
        return True


def _strays(*, now: datetime) -> int:
    """Remove files that no row names: of a crash, or of a refusal after the bytes were kept."""
    before = now - STRAY_AFTER
    names = set(Artifact.objects.exclude(file="").values_list("file", flat=True))
    staged = set(Artifact.objects.exclude(staged="").values_list("staged", flat=True))
    removed = 0
    for storage, folder, named in (
        (artifact_storage(), BUNDLES, names),
        (default_storage, STAGING, staged),
    ):
        for name in _files(storage, folder):
            if name not in named and storage.get_modified_time(name) < before:
                storage.delete(name)
                removed += 1
    return removed


def _files(storage: Storage, folder: str) -> Iterable[str]:
    try:
        _folders, names = storage.listdir(folder)
    except FileNotFoundError:
        return []
    return [f"{folder}/{name}" for name in names]

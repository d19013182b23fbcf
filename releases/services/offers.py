"""Handing the one open update of a device to it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from devices.models import Device
from releases.models import WAITING, WORKING, Artifact, DeviceUpdate, RolloutTarget
from releases.services.chaos import chaos_of
from releases.services.command_updates import update_for_command
from releases.services.gates import offer_gate
from releases.services.signed_links import Link, bundle_link
from releases.services.update_rows import locked, moved, offer_deadline
from releases.trust.paths import manifest_path, trust_of

Status = DeviceUpdate.Status


@dataclass(frozen=True)
class Offer:
    """An update as its device is told: what to fetch, from where, and how long it may take."""

    update: DeviceUpdate
    artifact: Artifact
    counter: int
    segment: str
    target_path: str
    link: Link
    timeout_s: int
    chaos: dict[str, Any]


def update_offer(*, device: Device, now: datetime) -> Offer | None:
    """Return what the device should install now, or None.

    An `update` command that the device holds is where an update may come from as well.
    What was not offered yet is offered when every gate that can close again is open. A device
    that has begun gets the same offer again, after a restart say, whatever the gates say.
    """
    rows = DeviceUpdate.objects.filter(device=device, status__in=[*WAITING, *WORKING])
    update = rows.first() or update_for_command(device=device, now=now)
    if update is None:
        return None
    with transaction.atomic():
        return _offered(locked(update), now=now)


def _offered(row: DeviceUpdate, *, now: datetime) -> Offer | None:
    if row.status in WAITING and not _may_begin(row, now=now):
        return None
    if row.status not in [*WAITING, *WORKING]:
        return None
    artifact = row.artifact
    if artifact is None or row.release is None or artifact.status != Artifact.Status.STORED:
        _withdraw(row, now=now)
        return None
    if row.status == Status.SCHEDULED:
        moved(row, status=Status.OFFERED, offered_at=now, deadline_at=offer_deadline(row, now))
    segment = row.segment or row.device.segment
    left = (row.deadline_at - now).total_seconds() if row.deadline_at else 0
    return Offer(
        update=row,
        artifact=artifact,
        counter=row.release.counter or 0,
        segment=segment,
        target_path=manifest_path(
            trust=trust_of(segment), role=artifact.role, version=row.release.version
        ),
        link=bundle_link(artifact=artifact, now=now),
        timeout_s=max(0, int(left)),
        chaos=chaos_of(row),
    )


def _may_begin(row: DeviceUpdate, *, now: datetime) -> bool:
    """Ask the gates again; what was offered and not begun goes back when one has closed."""
    closed = row.is_paused or offer_gate(update=row, now=now) is not None
    if closed and row.status == Status.OFFERED:
        moved(row, status=Status.SCHEDULED, offered_at=None, deadline_at=None, keeps_place=False)
    return not closed


def _withdraw(row: DeviceUpdate, *, now: datetime) -> None:
    """Take back an update whose bundle is gone: nobody could ever install it."""
    words = f"The bundle of {row.to_version or 'the release'} is not kept any more."
    moved(row, status=Status.CANCELLED, finished_at=now, deadline_at=None, error=words)
    RolloutTarget.objects.filter(update=row).update(update=None)
    Device.objects.filter(pk=row.device_id, target_version=row.to_version).update(
        target_version=row.from_version
    )

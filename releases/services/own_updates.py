"""Updates a device did on its own, and told of afterwards."""

from datetime import datetime, timedelta

from audit.services import Actor
from common.errors import InvalidInput
from devices.models import Device
from releases.errors import UpdateConflict
from releases.models import OPEN, DeviceUpdate, Release
from releases.services.ends import (
    BAD,
    Status,
    UpdateReport,
    failure,
    update_failed,
    update_record,
)
from releases.services.update_rows import in_words, proof_deadline

# The same outcome told again within this time is the same update.
SAME = timedelta(hours=1)


def own_update_add(
    *, device: Device, report: UpdateReport, actor: Actor, now: datetime
) -> DeviceUpdate:
    """Write an update the portal did not order; one that went well has to be proved as any.

    Raises InvalidInput for a step, and UpdateConflict while another update is open.
    """
    if report.status not in [Status.CLAIMED, *BAD]:
        raise InvalidInput("Without `update_id` only an outcome is taken: name the update.")
    row = _prepared(device, report, now=now)
    if before := _told_before(row, now=now):
        return before
    if report.status in BAD:
        for name, value in failure(report).items():
            setattr(row, name, value)
        row.finished_at = now
        row.save()
        update_failed(row, actor=actor, now=now)
        return row
    open_one = DeviceUpdate.objects.filter(device=device, status__in=OPEN).first()
    if open_one is not None:
        raise UpdateConflict(
            f"Update {open_one.pk} to {open_one.to_version} is {in_words(open_one)}."
            " Report on that one first.",
            update_status=open_one.status,
        )
    row.claimed_at = now
    row.deadline_at = proof_deadline(row, now)
    row.save()
    update_record(row, actor=actor)
    return row


def _prepared(device: Device, report: UpdateReport, *, now: datetime) -> DeviceUpdate:
    release = _release_of(device, report)
    return DeviceUpdate(
        organization=device.organization,
        device=device,
        release=release,
        kind=DeviceUpdate.Kind.REPORTED,
        segment=device.segment,
        from_version=report.from_version or device.state.version,
        from_commit=report.from_commit,
        to_version=report.to_version or (release.version if release else report.running_version),
        to_commit=report.to_commit or (release.commit if release else ""),
        status=report.status,
        step=report.step,
        progress=report.progress,
        health_check_passed=report.health_check_passed,
        timings=report.timings,
        scheduled_at=now,
        started_at=now,
        created_by=device.device_id,
    )


def _release_of(device: Device, report: UpdateReport) -> Release | None:
    releases = Release.objects.filter(organization_id=device.organization_id)
    if report.to_version:
        return releases.filter(version=report.to_version).first()
    if not report.to_commit:
        return None
    return releases.filter(commit__startswith=report.to_commit).order_by("-counter").first()


def _told_before(row: DeviceUpdate, *, now: datetime) -> DeviceUpdate | None:
    last = DeviceUpdate.objects.filter(device=row.device, kind=row.kind).order_by("-pk").first()
    if last is None or last.scheduled_at < now - SAME:
        return None
    if (last.to_version, last.to_commit) != (row.to_version, row.to_commit):
        return None
    claimed = row.status == Status.CLAIMED and last.claimed_at is not None
    return last if claimed or last.status == row.status else None

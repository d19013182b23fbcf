"""Files of a device that are not what its release says."""

from datetime import datetime
from typing import Any

from django.db import transaction

from common import limits
from devices.models import Device, DeviceEvent, DriftReport
from devices.services.events import event_add

Items = list[dict[str, Any]]


@transaction.atomic
def drift_report(
    *, device: Device, release: str, items: Items, now: datetime, count: int | None = None
) -> DriftReport | None:
    """Take what a device found when it compared its files; return its open report, or None.

    A device has one open report: new items replace those in it, and none at all resolve it.
    `limits.DRIFT_ITEMS` of them are kept; `count` says how many files differ altogether. The same
    again only moves `last_at`; anything else is a line in the device's history.
    """
    # Two reports of one device come one after the other.
    Device.objects.select_for_update(no_key=True).get(pk=device.pk)
    there = DriftReport.objects.filter(device=device, resolved_at__isnull=True).first()
    if not items:
        if there is not None:
            _resolve(device, there, release=release, now=now)
        return None
    kept = items[: limits.DRIFT_ITEMS]
    found = {"release": release, "items": kept, "count": max(count or 0, len(items))}
    if there is None:
        there = DriftReport.objects.create(
            organization_id=device.organization_id,
            device=device,
            first_at=now,
            last_at=now,
            **found,
        )
        _tell(device, there, now=now)
        return there
    differs = any(getattr(there, name) != value for name, value in found.items())
    for name, value in {**found, "last_at": now}.items():
        setattr(there, name, value)
    there.save(update_fields=[*found, "last_at"])
    if differs:
        _tell(device, there, now=now)
    return there


def _resolve(device: Device, report: DriftReport, *, release: str, now: datetime) -> None:
    DriftReport.objects.filter(pk=report.pk).update(resolved_at=now, last_at=now, repair_note="")
    event_add(
        device=device,
        kind="drift",
        message=f"Files are as {release or report.release or 'its release'} says again",
        now=now,
        details={"drift_report": str(report.pk)},
    )


def _tell(device: Device, report: DriftReport, *, now: datetime) -> None:
    files = "1 file differs" if report.count == 1 else f"{report.count} files differ"
    event_add(
        device=device,
        kind="drift",
        severity=DeviceEvent.Severity.WARNING,
        message=f"{files} from {report.release or 'its release'}: {report.items[0]['path']}",
        now=now,
        details={"drift_report": str(report.pk), "count": report.count},
    )

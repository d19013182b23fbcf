"""The update of one device: what is open of it, and taking back what it has not begun."""

from datetime import datetime

from devices.models import Device
from releases.models import WAITING, DeviceUpdate, RolloutTarget


def open_update(device: Device) -> DeviceUpdate | None:
    """Return the device's open update; there is at most one."""
    return DeviceUpdate.objects.filter(device=device).open().first()


def updates_take_back(*, device: Device, reason: str, now: datetime) -> int:
    """Cancel what the device has not begun; what it has begun runs to its end.

    It is to run again what it ran before, and a rollout may come back to it later. To be called in
    a transaction that holds the device.
    """
    rows = DeviceUpdate.objects.filter(device=device, status__in=WAITING)
    update = rows.select_for_update(of=("self",)).first()
    if update is None:
        return 0
    RolloutTarget.objects.filter(update=update).update(update=None)
    Device.objects.filter(pk=device.pk).update(target_version=update.from_version)
    return rows.filter(pk=update.pk).update(
        status=DeviceUpdate.Status.CANCELLED, finished_at=now, deadline_at=None, error=reason
    )

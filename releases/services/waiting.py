"""The update of one device: what is open of it, and taking back what it has not begun."""

from datetime import datetime

from devices.models import Device
from releases.models import WAITING, DeviceUpdate


def open_update(device: Device) -> DeviceUpdate | None:
    """Return the device's open update; there is at most one."""
    return DeviceUpdate.objects.filter(device=device).open().first()


def waiting_cancel(*, device: Device, reason: str, now: datetime) -> int:
    """Cancel what the device has not begun; what it has begun runs to its end.

    The device stops waiting for that version. To be called in a transaction.
    """
    waits = DeviceUpdate.objects.filter(device=device, status__in=WAITING)
    cancelled = waits.update(
        status=DeviceUpdate.Status.CANCELLED, finished_at=now, deadline_at=None, error=reason
    )
    if cancelled:
        Device.objects.filter(pk=device.pk).update(target_version="")
    return cancelled

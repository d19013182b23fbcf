"""Safe mode, quarantine and diagnostics of devices."""

from datetime import datetime

from django.db.models import F

from devices.models import Device, DeviceRecovery


def recovery_failure_count(*, device: Device, reason: str, now: datetime) -> None:
    """Count one more failed update of the device in a row."""
    DeviceRecovery.objects.get_or_create(
        device=device, defaults={"organization_id": device.organization_id}
    )
    DeviceRecovery.objects.filter(device=device).update(
        failures=F("failures") + 1, last_failure_at=now
    )


def recovery_failure_reset(*, device: Device, now: datetime) -> None:
    """Forget the failed updates of a device: one has worked since."""
    DeviceRecovery.objects.filter(device=device, failures__gt=0).update(failures=0)

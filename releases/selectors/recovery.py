"""Where a device stands on its way back."""

from common import limits
from devices.models import Device, DeviceRecovery
from releases.models import DeviceUpdate


def recovery_of(device: Device) -> DeviceRecovery:
    """Return where a device stands, with its `last_updates`; one never in trouble is well."""
    row = DeviceRecovery.objects.filter(device=device).select_related("device").first()
    row = row or DeviceRecovery(device=device, organization_id=device.organization_id)
    updates = DeviceUpdate.objects.filter(device=device).order_by("-pk")
    row.last_updates = list(updates[: limits.RECOVERY_UPDATES])  # type: ignore[attr-defined]
    return row

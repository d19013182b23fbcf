"""Where a device stands on its way back."""

from common import limits
from devices.models import Device, DeviceRecovery
from releases.models import DeviceUpdate


def recovery_of(device: Device) -> DeviceRecovery:
    """Return where a device stands, with its `last_updates`; one never in trouble is well.

    `leaving` is the redeploy by which a device in safe mode is about to leave: it was claimed, and
    waits for its proof.
    """
    row = DeviceRecovery.objects.filter(device=device).select_related("device").first()
    row = row or DeviceRecovery(device=device, organization_id=device.organization_id)
    updates = DeviceUpdate.objects.filter(device=device).order_by("-pk")
    # What is told beside the row; its table has no such columns.
    row.last_updates = list(updates[: limits.RECOVERY_UPDATES])  # type: ignore[attr-defined]
    row.leaving = leaving_by(device)  # type: ignore[attr-defined]  # as above
    return row


def leaving_by(device: Device) -> DeviceUpdate | None:
    """Return the claimed redeploy that leads a device out of safe mode once it is proved."""
    if not device.safe_mode:
        return None
    claimed = DeviceUpdate.objects.filter(device=device, status=DeviceUpdate.Status.CLAIMED)
    return claimed.filter(kind=DeviceUpdate.Kind.REDEPLOY).first()

"""The history of a device, in sentences."""

from datetime import datetime
from typing import Any

from devices.models import Device, DeviceEvent


def event_add(
    *,
    device: Device,
    kind: str,
    message: str,
    now: datetime,
    severity: str = DeviceEvent.Severity.INFO,
    details: dict[str, Any] | None = None,
) -> None:
    """Add one line to a device's history."""
    DeviceEvent.objects.create(
        organization_id=device.organization_id,
        device=device,
        at=now,
        kind=kind,
        severity=severity,
        message=message[:255],
        details=details or {},
    )

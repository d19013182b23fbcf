from devices.models.enrollment import DeviceToken, EnrollmentToken
from devices.models.registry import (
    GRANT,
    Device,
    DeviceGroup,
    GroupMember,
    OfDeviceQuerySet,
)
from devices.models.telemetry import DeviceEvent, DeviceState, Heartbeat, ServicePulse

__all__ = [
    "GRANT",
    "Device",
    "DeviceEvent",
    "DeviceGroup",
    "DeviceState",
    "DeviceToken",
    "EnrollmentToken",
    "GroupMember",
    "Heartbeat",
    "OfDeviceQuerySet",
    "ServicePulse",
]

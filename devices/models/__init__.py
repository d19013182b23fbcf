from devices.models.enrollment import DeviceToken, EnrollmentToken
from devices.models.recovery import DeviceRecovery, DriftReport
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
    "DeviceRecovery",
    "DeviceState",
    "DeviceToken",
    "DriftReport",
    "EnrollmentToken",
    "GroupMember",
    "Heartbeat",
    "OfDeviceQuerySet",
    "ServicePulse",
]

"""The fleet in the admin: devices, groups, enrolment tokens, events."""

from devices.admin.devices import DeviceAdmin
from devices.admin.drift import DriftReportAdmin
from devices.admin.events import DeviceEventAdmin
from devices.admin.groups import DeviceGroupAdmin
from devices.admin.tokens import EnrollmentTokenAdmin

__all__ = [
    "DeviceAdmin",
    "DeviceEventAdmin",
    "DeviceGroupAdmin",
    "DriftReportAdmin",
    "EnrollmentTokenAdmin",
]

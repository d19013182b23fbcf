from common.errors import DomainError


class DeviceExists(DomainError):
    code = "device_exists"


class EnrollmentRefused(DomainError):
    """No credential that lets this device in."""

    code = "enrollment_refused"
    http_status = 403


class LifecycleForbids(DomainError):
    code = "lifecycle_forbids"


class NameTaken(DomainError):
    code = "name_taken"

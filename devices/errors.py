from common.errors import DomainError


class DeviceExists(DomainError):
    """The device id is taken, and the caller did not prove to be that device."""

    code = "device_exists"


class EnrollmentRefused(DomainError):
    """No credential that lets this device in."""

    code = "enrollment_refused"
    http_status = 403


class LifecycleForbids(DomainError):
    """The device is not in a state that allows this."""

    code = "lifecycle_forbids"


class NameTaken(DomainError):
    """Something of this kind has the name already."""

    code = "name_taken"


class RecoveryConflict(DomainError):
    """The device is not in the mode this would end."""

    code = "recovery_state"

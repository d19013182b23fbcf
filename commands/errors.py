from common.errors import DomainError


class UnknownKind(DomainError):
    """There is no command of this type."""

    code = "unknown_command_type"
    http_status = 422


class PayloadRefused(DomainError):
    """The payload does not fit the type's JSON schema."""

    code = "payload_refused"
    http_status = 422


class QueueFull(DomainError):
    """The device holds as many open commands as it may."""

    code = "queue_full"


class DeviceNotCommandable(DomainError):
    """Only active devices take commands."""

    code = "device_not_commandable"


class CommandAlreadyEnded(DomainError):
    """The command has ended and will not move any more."""

    code = "command_ended"


class CommandNotRetryable(DomainError):
    """Only a command that ended badly is tried again."""

    code = "command_not_retryable"


class TransitionRefused(DomainError):
    """The command is not where the report assumes; `command_status` and `attempt` say where."""

    code = "transition_refused"


class BundleRefused(DomainError):
    """The archive was not asked for, or does not have its checksum."""

    code = "bundle_refused"
    http_status = 422


class ProtocolUnavailable(DomainError):
    """No transport for this protocol is configured."""

    code = "protocol_unavailable"
    http_status = 422

from common.errors import DomainError


class UnknownKind(DomainError):
    code = "unknown_command_type"
    http_status = 422


class PayloadRefused(DomainError):
    code = "payload_refused"
    http_status = 422


class QueueFull(DomainError):
    code = "queue_full"


class DeviceNotCommandable(DomainError):
    code = "device_not_commandable"


class CommandAlreadyEnded(DomainError):
    code = "command_ended"


class CommandNotRetryable(DomainError):
    code = "command_not_retryable"


class TransitionRefused(DomainError):
    """The command is not where the report assumes; `command_status` and `attempt` say where."""

    code = "transition_refused"


class BundleRefused(DomainError):
    code = "bundle_refused"
    http_status = 422


class ProtocolUnavailable(DomainError):
    code = "protocol_unavailable"
    http_status = 422

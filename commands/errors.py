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


class PartRefused(DomainError):
    """The part does not follow what was received; `received` says where to go on."""

    code = "part_refused"


class BundleNotReady(DomainError):
    """Nobody has looked inside yet, or the bundle was refused."""

    code = "bundle_not_ready"


class NoSuchFile(DomainError):
    """The bundle holds no file of this name."""

    code = "no_such_file"
    http_status = 404


class NotText(DomainError):
    """The file is not made of lines; download the bundle."""

    code = "not_text"
    http_status = 422


class NothingToCompare(DomainError):
    """There is no other bundle of the kind asked for."""

    code = "nothing_to_compare"


class ProtocolUnavailable(DomainError):
    """No transport for this protocol is configured."""

    code = "protocol_unavailable"
    http_status = 422


class CodecUnknown(DomainError):
    """No codec of this name is registered."""

    code = "codec_unknown"
    http_status = 422


class RequestIdUsed(DomainError):
    """A command of this id exists already, and it is another one."""

    code = "request_id_used"


class VersionConflict(DomainError):
    """The command has moved since the caller looked; `command_status` and `version` say where."""

    code = "version_conflict"


class CommandNotHeld(DomainError):
    """Only a held command is released."""

    code = "command_not_held"


class OutputGap(DomainError):
    """A piece of output is missing; `next_index` is the one to send."""

    code = "output_gap"


class PushRefused(DomainError):
    """One command of an all-or-none batch was refused, so none was queued."""

    code = "batch_refused"
    http_status = 422


class SelectionRefused(DomainError):
    """Devices cannot be chosen like this."""

    code = "selection_refused"
    http_status = 422


class PlanRefused(DomainError):
    """Waves, window or schedule do not fit together."""

    code = "plan_refused"
    http_status = 422


class BatchEmpty(DomainError):
    """No device would get the command."""

    code = "batch_empty"
    http_status = 422


class BatchConflict(DomainError):
    """The batch is not where this act assumes; `batch_status` says where."""

    code = "batch_conflict"


class ApprovalRefused(DomainError):
    """The second person has to be another person."""

    code = "approval_refused"
    http_status = 403


class ScriptUnknown(DomainError):
    """The organisation has no such script, or no such version of it."""

    code = "script_unknown"
    http_status = 422


class ScriptWithdrawn(DomainError):
    """The script is not to run any more."""

    code = "script_withdrawn"


class ScriptUntrusted(DomainError):
    """The stored text does not bear the portal's signature."""

    code = "script_untrusted"


class NameTaken(DomainError):
    """The organisation has something of this name already."""

    code = "name_taken"

from typing import Any

from rest_framework import serializers

from commands.api.options import OptionsInput
from commands.models import Command, CommandAttempt, CommandEvent, OutputChunk
from commands.transports import AGENT
from common import limits


class VersionField(serializers.IntegerField):
    """The version of a command."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=1, max_value=limits.INT_MAX, **kwargs)


class OrderInput(OptionsInput):
    """What a device is to do: a type with its payload, or a stored template."""

    payload = serializers.DictField(required=False)
    template = serializers.UUIDField(required=False, allow_null=True)
    request_id = serializers.UUIDField(required=False, allow_null=True)


class QueueCommandInput(OrderInput):
    """A command for the device in the path; the payload must fit its type's JSON schema.

    `template` fills in what is not sent. `request_id` becomes the command's id: the same order
    again under the same id queues nothing new.
    """

    type = serializers.CharField(max_length=32, required=False)


class CommandOutput(serializers.ModelSerializer):
    """One command and what became of it. `version` grows with every change."""

    request_id = serializers.UUIDField(source="pk", read_only=True)
    device_id = serializers.CharField(source="device.device_id", read_only=True)
    type = serializers.CharField(source="kind", read_only=True)
    payload = serializers.DictField(read_only=True)
    result = serializers.DictField(read_only=True, allow_null=True)
    retries = serializers.DictField(child=serializers.IntegerField(), read_only=True)
    metadata = serializers.DictField(read_only=True)
    batch_id = serializers.UUIDField(read_only=True, allow_null=True)
    retry_of = serializers.UUIDField(source="retry_of_id", read_only=True, allow_null=True)
    attempts_url = serializers.SerializerMethodField()
    expect_state = serializers.CharField(
        read_only=True, help_text="The health it waits for, or empty."
    )
    failure_class = serializers.CharField(
        read_only=True, help_text="network, timeout, failed, rejected, or empty."
    )

    class Meta:
        model = Command
        fields = [
            *("id", "request_id", "device_id", "type", "payload", "priority", "status"),
            *("attempt", "version", "created_at", "created_by", "expires_at", "delivered_at"),
            *("started_at", "finished_at", "lease_expires_at", "result", "error", "output"),
            *("sequence", "disruptive", "not_before", "held_reason", "run_timeout_s"),
            *("run_deadline", "step_deadline", "retries", "retry_backoff_s"),
            *("cancel_requested_at", "cancel_deadline", "expect_version", "expect_state"),
            *("on_mismatch", "reconnect", "reconnect_after_s", "protocol", "codec", "metadata"),
            *("qos", "retain", "confirmable", "failure_class", "error_code", "batch_id"),
            *("retry_of", "attempts_url"),
        ]
        read_only_fields = fields

    def get_attempts_url(self, command: Command) -> str:
        """Return the path of the attempts and of every step."""
        return f"/api/v1/commands/{command.pk}/timeline"


class ReportedOutput(CommandOutput):
    """A command as its device sees it."""

    cancel_requested = serializers.SerializerMethodField()

    class Meta(CommandOutput.Meta):
        fields = [*CommandOutput.Meta.fields, "cancel_requested"]
        read_only_fields = fields

    def get_cancel_requested(self, command: Command) -> bool:
        """Say whether the device should stop."""
        return command.is_open and command.cancel_requested_at is not None


class StepOutput(serializers.ModelSerializer):
    """One step of a command's life."""

    to = serializers.CharField(source="to_status", read_only=True)

    class Meta:
        model = CommandEvent
        fields = ["at", "source", "to", "attempt", "code", "detail"]
        read_only_fields = fields

    def get_fields(self) -> dict[str, Any]:
        """Add `from`, which no attribute of a class can be called."""
        begin = serializers.CharField(source="from_status", read_only=True)
        return {"from": begin, **super().get_fields()}


class AttemptOutput(serializers.ModelSerializer):
    """One time the command was handed out."""

    class Meta:
        model = CommandAttempt
        fields = [
            *("number", "delivered_at", "started_at", "finished_at", "outcome"),
            *("failure_class", "error_code", "error"),
        ]
        read_only_fields = fields


class TimelineOutput(serializers.Serializer):
    """Every step of a command, oldest first, and its attempts."""

    events = StepOutput(many=True)
    attempts = AttemptOutput(many=True)


class ReasonOutput(serializers.Serializer):
    """One thing that keeps a command waiting; `until` when its end is known."""

    code = serializers.CharField()
    detail = serializers.CharField()
    until = serializers.DateTimeField(allow_null=True)


class WhyOutput(serializers.Serializer):
    """Whether a command still waits, and for what."""

    waiting = serializers.BooleanField()
    reasons = ReasonOutput(many=True)


class CommandStatusOutput(serializers.Serializer):
    """Where a command is; `done` says that it will not move any more."""

    request_id = serializers.UUIDField(source="pk")
    device_id = serializers.CharField(source="device.device_id")
    command_type = serializers.CharField(source="kind")
    protocol = serializers.CharField()
    batch_id = serializers.UUIDField(allow_null=True)
    status = serializers.ChoiceField(choices=Command.Status.choices)
    done = serializers.SerializerMethodField()
    published = serializers.SerializerMethodField()
    attempt = serializers.IntegerField()
    max_attempts = serializers.SerializerMethodField()
    result = serializers.DictField(allow_null=True)
    error = serializers.CharField()
    error_code = serializers.CharField()
    error_detail = serializers.CharField(source="error")
    created_at = serializers.DateTimeField()
    published_at = serializers.DateTimeField(source="created_at")
    delivered_at = serializers.DateTimeField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField()
    ack_deadline = serializers.DateTimeField(allow_null=True)
    events = StepOutput(many=True)

    def get_done(self, command: Command) -> bool:
        """Say whether the command has ended."""
        return not command.is_open

    def get_published(self, command: Command) -> bool:
        """Say whether its transport can read it: what agents fetch can be read at once."""
        return command.protocol == AGENT

    def get_max_attempts(self, command: Command) -> int:
        """Return how many attempts the retry policy allows altogether."""
        return 1 + sum(map(int, command.retries.values()))


class CancelInput(serializers.Serializer):
    """How to take a command back; `timeout_s` is what a device that holds it gets to stop."""

    force = serializers.BooleanField(required=False, default=False)
    timeout_s = serializers.IntegerField(
        min_value=1,
        max_value=limits.COMMAND_CANCEL_MAX_S,
        required=False,
        default=limits.COMMAND_CANCEL_S,
    )
    reason = serializers.CharField(
        max_length=limits.LINE_CHARS, required=False, default="", allow_blank=True
    )
    expected_version = VersionField(required=False, allow_null=True, default=None)


class VersionInput(serializers.Serializer):
    """What the caller looked at; like the header If-Match."""

    expected_version = VersionField(required=False, allow_null=True, default=None)


class PushCommandInput(OrderInput):
    """A command named by device, as push services take it.

    `protocol` “agent” is fetched by the portal's own agent; the fields for other transports are
    read only by them. `request_id` becomes the command's id.
    """

    device_id = serializers.RegexField(limits.DEVICE_ID_PATTERN, max_length=64)
    command_type = serializers.CharField(max_length=32, required=False)
    protocol = serializers.CharField(
        max_length=16, required=False, allow_null=True, allow_blank=True
    )
    parser_script_ref = serializers.CharField(
        max_length=limits.SHORT_CHARS, required=False, allow_null=True, allow_blank=True
    )
    metadata = serializers.DictField(required=False, allow_null=True)
    qos = serializers.IntegerField(min_value=0, max_value=2, required=False, allow_null=True)
    retain = serializers.BooleanField(required=False, allow_null=True)
    confirmable = serializers.BooleanField(required=False, allow_null=True)


class PushCommandOutput(serializers.Serializer):
    """What became of the request; `request_id` names the command."""

    success = serializers.BooleanField()
    request_id = serializers.UUIDField(allow_null=True)
    message = serializers.CharField()
    timestamp = serializers.DateTimeField()
    status = serializers.CharField(allow_null=True)
    device_id = serializers.CharField(allow_null=True)
    links = serializers.DictField(child=serializers.CharField())


class PushBatchInput(serializers.Serializer):
    """Many commands; each is judged by itself, or with `atomic` all or none are queued."""

    commands = serializers.ListField(
        child=serializers.DictField(), min_length=1, max_length=limits.COMMAND_BULK_DEVICES
    )
    atomic = serializers.BooleanField(required=False, default=False)


class PushBatchOutput(serializers.Serializer):
    """The outcome of each command, in the order sent."""

    total_commands = serializers.IntegerField()
    successful = serializers.IntegerField()
    failed = serializers.IntegerField()
    results = PushCommandOutput(many=True)
    batch_id = serializers.UUIDField()


class StepField(serializers.IntegerField):
    """Seconds the next step may take; -1 ends the timer."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            min_value=-1, max_value=limits.COMMAND_STEP_MAX_S, required=False, **kwargs
        )


class AttemptInput(serializers.Serializer):
    """Every word of a device about a command names the attempt it was handed."""

    attempt = serializers.IntegerField(min_value=1, max_value=limits.INT_MAX)


class CommandReportInput(AttemptInput):
    """What the device says of the attempt it was handed."""

    status = serializers.ChoiceField(
        choices=["running", "succeeded", "failed", "rejected", "cancelled"]
    )
    result = serializers.DictField(required=False, allow_null=True, default=None)
    error = serializers.CharField(
        max_length=limits.COMMAND_ERROR_CHARS,
        required=False,
        default="",
        allow_blank=True,
        trim_whitespace=False,
    )
    error_code = serializers.CharField(
        max_length=limits.SHORT_CHARS, required=False, default="", allow_blank=True
    )
    failure_class = serializers.ChoiceField(
        choices=["network", "failed"], required=False, default="", allow_blank=True
    )
    output = serializers.CharField(
        max_length=limits.COMMAND_OUTPUT_CHARS,
        required=False,
        default="",
        allow_blank=True,
        trim_whitespace=False,
    )
    step_timeout_s = StepField(allow_null=True, default=None)


class RenewInput(AttemptInput):
    """A sign of life."""

    step_timeout_s = StepField(allow_null=True, default=None)


class RenewOutput(serializers.Serializer):
    """What time the device has, and whether it should stop."""

    lease_expires_at = serializers.DateTimeField(allow_null=True)
    run_deadline = serializers.DateTimeField(allow_null=True)
    step_deadline = serializers.DateTimeField(allow_null=True)
    cancel_requested = serializers.BooleanField()


class OutputInput(AttemptInput):
    """One piece of what the attempt printed."""

    index = serializers.IntegerField(min_value=0, max_value=limits.INT_MAX - 1)
    text = serializers.CharField(
        max_length=limits.OUTPUT_CHUNK_CHARS, allow_blank=True, trim_whitespace=False
    )


class OutputTaken(serializers.Serializer):
    """Which piece comes next, whether there was room, and whether the device should stop."""

    next_index = serializers.IntegerField()
    truncated = serializers.BooleanField()
    cancel_requested = serializers.BooleanField()


class ChunkOutput(serializers.ModelSerializer):
    """A piece of output."""

    class Meta:
        model = OutputChunk
        fields = ["index", "text", "at"]
        read_only_fields = fields


class LiveOutput(serializers.Serializer):
    """Pieces of one attempt in order; ask again after `next_index` - 1 until `done`."""

    attempt = serializers.IntegerField()
    chunks = ChunkOutput(many=True)
    next_index = serializers.IntegerField()
    status = serializers.ChoiceField(choices=Command.Status.choices)
    done = serializers.BooleanField()


class ScriptDocument(serializers.Serializer):
    """A script as it was signed: `document` is the exact text under the signature."""

    document = serializers.CharField()
    signature = serializers.CharField()
    key_id = serializers.CharField()

from rest_framework import serializers

from commands.models import Command, SupportBundle
from common import limits


class QueueCommandInput(serializers.Serializer):
    """A command for the device in the path; the payload must fit its type's JSON schema."""

    type = serializers.CharField(max_length=32)
    payload = serializers.DictField(required=False, default=dict)
    priority = serializers.IntegerField(min_value=-100, max_value=100, default=0)
    expires_in_s = serializers.IntegerField(
        min_value=limits.COMMAND_TTL_MIN_S,
        max_value=limits.COMMAND_TTL_MAX_S,
        default=limits.COMMAND_TTL_S,
    )


class CommandOutput(serializers.ModelSerializer):
    """One command and what became of it. `version` grows with every change."""

    request_id = serializers.UUIDField(source="pk", read_only=True)
    device_id = serializers.CharField(source="device.device_id", read_only=True)
    type = serializers.CharField(source="kind", read_only=True)
    payload = serializers.DictField(read_only=True)
    result = serializers.DictField(read_only=True, allow_null=True)

    class Meta:
        model = Command
        fields = [
            "id",
            "request_id",
            "device_id",
            "type",
            "payload",
            "priority",
            "status",
            "attempt",
            "version",
            "created_at",
            "created_by",
            "expires_at",
            "delivered_at",
            "started_at",
            "finished_at",
            "lease_expires_at",
            "result",
            "error",
            "output",
        ]
        read_only_fields = fields


class CommandStatusOutput(serializers.Serializer):
    """Where a command is; `done` says that it will not move any more."""

    request_id = serializers.UUIDField(source="pk")
    device_id = serializers.CharField(source="device.device_id")
    status = serializers.ChoiceField(choices=Command.Status.choices)
    done = serializers.SerializerMethodField()
    attempt = serializers.IntegerField()
    error = serializers.CharField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)

    def get_done(self, command: Command) -> bool:
        """Say whether the command has ended."""
        return not command.is_open


class PushCommandInput(serializers.Serializer):
    """A command named by device, as push services take it.

    `protocol` “agent” is fetched by the portal's own agent; the fields for other transports are
    read only by them.
    """

    device_id = serializers.RegexField(limits.DEVICE_ID_PATTERN, max_length=64)
    command_type = serializers.CharField(max_length=32)
    payload = serializers.DictField(required=False, default=dict)
    protocol = serializers.CharField(max_length=16, required=False, default="agent")
    parser_script_ref = serializers.CharField(
        max_length=limits.SHORT_CHARS, required=False, allow_null=True, allow_blank=True
    )
    metadata = serializers.DictField(required=False, default=dict)
    qos = serializers.IntegerField(min_value=0, max_value=2, required=False, allow_null=True)
    retain = serializers.BooleanField(required=False, allow_null=True)
    confirmable = serializers.BooleanField(required=False, allow_null=True)
    priority = serializers.IntegerField(min_value=-100, max_value=100, default=0)
    expires_in_s = serializers.IntegerField(
        min_value=limits.COMMAND_TTL_MIN_S,
        max_value=limits.COMMAND_TTL_MAX_S,
        default=limits.COMMAND_TTL_S,
    )


class PushCommandOutput(serializers.Serializer):
    """What became of the request; `request_id` names the command."""

    success = serializers.BooleanField()
    request_id = serializers.UUIDField(allow_null=True)
    message = serializers.CharField()
    timestamp = serializers.DateTimeField()


class PushBatchInput(serializers.Serializer):
    """Many commands; each is judged by itself."""

    commands = serializers.ListField(
        child=serializers.DictField(), min_length=1, max_length=limits.COMMAND_BULK_DEVICES
    )


class PushBatchOutput(serializers.Serializer):
    """The outcome of each command, in the order sent."""

    total_commands = serializers.IntegerField()
    successful = serializers.IntegerField()
    failed = serializers.IntegerField()
    results = PushCommandOutput(many=True)


class CommandReportInput(serializers.Serializer):
    """What the device says of the attempt it was handed."""

    status = serializers.ChoiceField(choices=["running", "succeeded", "failed", "rejected"])
    attempt = serializers.IntegerField(min_value=1, max_value=limits.INT_MAX)
    result = serializers.DictField(required=False, allow_null=True, default=None)
    error = serializers.CharField(
        max_length=limits.COMMAND_ERROR_CHARS,
        required=False,
        default="",
        allow_blank=True,
        trim_whitespace=False,
    )
    output = serializers.CharField(
        max_length=limits.COMMAND_OUTPUT_CHARS,
        required=False,
        default="",
        allow_blank=True,
        trim_whitespace=False,
    )


class BundleOutput(serializers.ModelSerializer):
    """A support bundle; `download_url` gives the archive itself."""

    device_id = serializers.CharField(source="device.device_id", read_only=True)
    command_id = serializers.UUIDField(read_only=True)
    download_url = serializers.SerializerMethodField()

    class Meta:
        model = SupportBundle
        fields = ["id", "device_id", "command_id", "size", "sha256", "created_at", "download_url"]
        read_only_fields = fields

    def get_download_url(self, bundle: SupportBundle) -> str:
        """Return the path that serves the archive to who may read it."""
        return f"/api/v1/bundles/{bundle.pk}/download"

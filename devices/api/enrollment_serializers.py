"""What enrolment and registration take and answer, and the configuration a device gets."""

from typing import Any

from rest_framework import serializers

from common import limits
from devices.api.serializers import MetadataField
from devices.models import Device, EnrollmentToken


class RegisterInput(serializers.Serializer):
    """A device that introduces itself.

    The credential is `enrollment_token`, an API key, the device's own token (for a known id), or
    nothing where the organisation lets devices wait for acceptance. `token_sha256` is the digest
    of a token the device made itself: sending the request again is then safe.
    """

    device_id = serializers.RegexField(limits.DEVICE_ID_PATTERN, max_length=64)
    name = serializers.CharField(
        max_length=limits.NAME_CHARS, required=False, default="", allow_blank=True
    )
    platform = serializers.CharField(
        max_length=limits.SHORT_CHARS, required=False, default="", allow_blank=True
    )
    arch = serializers.CharField(
        max_length=limits.SHORT_CHARS, required=False, default="", allow_blank=True
    )
    hostname = serializers.CharField(
        max_length=limits.LINE_CHARS, required=False, default="", allow_blank=True
    )
    role = serializers.CharField(
        max_length=limits.SHORT_CHARS, required=False, default="", allow_blank=True
    )
    branch = serializers.CharField(max_length=limits.SHORT_CHARS, required=False, default="main")
    segment = serializers.ChoiceField(
        choices=[*Device.Segment.choices, ("stable", "stable"), ("beta", "beta")],
        required=False,
        default=Device.Segment.GENERAL,
        help_text="stable and beta are read as general and early.",
    )
    ip_address = serializers.IPAddressField(required=False, allow_null=True, default=None)
    serial = serializers.CharField(
        max_length=limits.SHORT_CHARS, required=False, default="", allow_blank=True
    )
    metadata = MetadataField(default=dict)
    heartbeat_interval_s = serializers.IntegerField(
        min_value=limits.HEARTBEAT_INTERVAL_MIN_S,
        max_value=limits.HEARTBEAT_INTERVAL_MAX_S,
        required=False,
        help_text="A pace of its own for a new device; without it the organisation's.",
    )
    organization = serializers.SlugField(
        max_length=limits.SLUG_CHARS, required=False, default="", write_only=True
    )
    enrollment_token = serializers.CharField(max_length=128, required=False, write_only=True)
    token_sha256 = serializers.RegexField(
        r"^[0-9a-fA-F]{64}$", max_length=64, required=False, write_only=True
    )

    def validate_segment(self, value: str) -> str:
        """Map the names of other fleets to the portal's segments."""
        return {"stable": "general", "beta": "early"}.get(value, value)


class SigningKey(serializers.Serializer):
    """A key the portal signs scripts with (Ed25519); `public_key` is base64 of 32 bytes."""

    key_id = serializers.CharField()
    public_key = serializers.CharField()


class DeviceConfig(serializers.Serializer):
    """What an agent needs to know about its device; intervals are seconds."""

    device_id = serializers.CharField()
    organization = serializers.CharField()
    name = serializers.CharField()
    lifecycle = serializers.ChoiceField(choices=Device.Lifecycle.choices)
    role = serializers.CharField()
    branch = serializers.CharField()
    segment = serializers.ChoiceField(choices=Device.Segment.choices)
    heartbeat_interval_s = serializers.IntegerField()
    command_poll_interval_s = serializers.IntegerField()
    update_interval = serializers.IntegerField()
    update_interval_s = serializers.IntegerField()
    event_stream_url = serializers.CharField(allow_null=True)
    version_lock = serializers.CharField(allow_null=True)
    target_version = serializers.CharField(allow_null=True)
    maintenance_mode = serializers.BooleanField()
    update_enabled = serializers.BooleanField()
    safe_mode = serializers.BooleanField()
    metadata = serializers.DictField()
    signing_keys = SigningKey(many=True)


class RegisterOutput(serializers.Serializer):
    """`token` is shown this once, and is null when the device sent its own digest."""

    device_id = serializers.CharField()
    token = serializers.CharField(allow_null=True)
    fleet_url = serializers.CharField()
    lifecycle = serializers.ChoiceField(choices=Device.Lifecycle.choices)
    config = DeviceConfig()


class RotateInput(serializers.Serializer):
    """The digest of the next token, made by the device; without it the portal makes one."""

    token_sha256 = serializers.RegexField(r"^[0-9a-fA-F]{64}$", max_length=64, required=False)


class RotateOutput(serializers.Serializer):
    """`token` is shown this once; the old one ends at its successor's first use or then."""

    token = serializers.CharField(allow_null=True)
    previous_expires_at = serializers.DateTimeField()


class EnrollmentTokenOutput(serializers.ModelSerializer):
    """An enrolment token without its secret."""

    group: Any = serializers.SlugRelatedField(slug_field="name", read_only=True, allow_null=True)

    class Meta:
        model = EnrollmentToken
        fields = [
            "id",
            "name",
            "prefix",
            "group",
            "expires_at",
            "max_uses",
            "uses",
            "created_by",
            "created_at",
            "revoked_at",
        ]
        read_only_fields = fields


class EnrollmentTokenInput(serializers.Serializer):
    """A token to issue: for how long (seconds) and how many devices."""

    name = serializers.CharField(max_length=limits.NAME_CHARS)
    expires_in_s = serializers.IntegerField(
        min_value=limits.ENROLLMENT_TTL_MIN_S,
        max_value=limits.ENROLLMENT_TTL_MAX_S,
        default=limits.ENROLLMENT_TTL_S,
    )
    max_uses = serializers.IntegerField(
        min_value=1, max_value=limits.ENROLLMENT_USES_MAX, default=1
    )
    group = serializers.CharField(max_length=limits.NAME_CHARS, required=False, allow_null=True)


class EnrollmentTokenCreated(EnrollmentTokenOutput):
    """The new token; `token` is its secret, shown this once."""

    token = serializers.CharField(read_only=True)

    class Meta(EnrollmentTokenOutput.Meta):
        fields = [*EnrollmentTokenOutput.Meta.fields, "token"]
        read_only_fields = fields

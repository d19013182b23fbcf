"""Safe mode, quarantine and diagnostics on the wire."""

from typing import Any

from rest_framework import serializers

from common import limits
from devices.models import DeviceRecovery
from releases.models import DeviceUpdate


class WhyInput(serializers.Serializer):
    """Why; it stands in the device's history and in the log."""

    reason = serializers.CharField(max_length=limits.LINE_CHARS)


class ModeInput(serializers.Serializer):
    """Why the device goes into safe mode, or leaves it."""

    reason = serializers.CharField(
        max_length=limits.LINE_CHARS, required=False, default="", allow_blank=True
    )


class QuarantineInput(WhyInput):
    """How long the device gets no updates, and why."""

    minutes = serializers.IntegerField(
        min_value=1,
        max_value=limits.QUARANTINE_MAX_MINUTES,
        required=False,
        default=limits.QUARANTINE_MINUTES,
    )


class RedeployInput(serializers.Serializer):
    """Which release: by its version or its id. `force_reason` goes past checks that failed."""

    version = serializers.CharField(max_length=limits.SHORT_CHARS, required=False)
    release_id = serializers.UUIDField(required=False)
    force_reason = serializers.CharField(
        max_length=limits.LINE_CHARS, required=False, default="", allow_blank=True
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One of the two names the release."""
        if ("version" in attrs) == ("release_id" in attrs):
            raise serializers.ValidationError("Name the release: `version` or `release_id`.")
        return attrs


class CheckInput(serializers.Serializer):
    """One thing the device looked at, and whether it was as it should be."""

    name = serializers.CharField(max_length=limits.NAME_CHARS)
    passed = serializers.BooleanField()
    detail = serializers.CharField(
        max_length=limits.LINE_CHARS, required=False, default="", allow_blank=True
    )


class DiagnosticsInput(serializers.Serializer):
    """What a device finds when it looks at itself. Members of other names are kept as they are.

    `safe_mode` true says that it is in safe mode, `leaving` true that its application runs again
    nevertheless, by a redeploy that waits for its proof. A redeploy asks for `checks` that all
    passed.
    """

    safe_mode = serializers.BooleanField(required=False)
    leaving = serializers.BooleanField(required=False)
    reason = serializers.CharField(max_length=limits.LINE_CHARS, required=False, allow_blank=True)
    running_version = serializers.CharField(
        max_length=limits.SHORT_CHARS, required=False, allow_blank=True
    )
    logs = serializers.JSONField(required=False, help_text="A text, or a list of lines.")
    disk = serializers.JSONField(required=False)
    last_errors = serializers.JSONField(required=False)
    checks = serializers.ListField(
        child=CheckInput(), required=False, max_length=limits.DIAGNOSTIC_CHECKS
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Keep what else was sent, too."""
        return {**self.initial_data, **attrs}


class LastUpdate(serializers.ModelSerializer):
    """An update of the device, in short."""

    kind = serializers.CharField(read_only=True)
    status = serializers.CharField(read_only=True)
    failure_class = serializers.CharField(read_only=True)

    class Meta:
        model = DeviceUpdate
        fields = [
            *("id", "kind", "status", "from_version", "to_version", "failure_class", "error"),
            *("scheduled_at", "finished_at"),
        ]
        read_only_fields = fields


class Leaving(serializers.ModelSerializer):
    """The redeploy a device claimed in safe mode: its proof ends the mode, else that goes on."""

    update_id = serializers.IntegerField(source="pk", read_only=True)
    version = serializers.CharField(source="to_version", read_only=True)

    class Meta:
        model = DeviceUpdate
        fields = ["update_id", "version", "claimed_at", "deadline_at"]
        read_only_fields = fields


class RecoveryOutput(serializers.ModelSerializer):
    """Where a device stands: safe mode, quarantine, failures in a row, diagnostics, updates."""

    device_id = serializers.CharField(source="device.device_id", read_only=True)
    lifecycle = serializers.CharField(source="device.lifecycle", read_only=True)
    safe_mode = serializers.BooleanField(source="device.safe_mode", read_only=True)
    source: Any = serializers.ChoiceField(
        choices=DeviceRecovery.Source.choices, allow_blank=True, read_only=True
    )
    diagnostics = serializers.DictField(read_only=True, allow_null=True)
    last_updates = LastUpdate(many=True, read_only=True)
    leaving = Leaving(read_only=True, allow_null=True)

    class Meta:
        model = DeviceRecovery
        fields = [
            *("device_id", "lifecycle", "safe_mode", "safe_mode_since", "source", "reason"),
            *("entered_by", "confirmed_at", "exited_at", "failures", "last_failure_at"),
            *("quarantined_until", "diagnostics", "diagnostics_at", "checks_passed"),
            *("last_updates", "leaving"),
        ]
        read_only_fields = fields


class RedeployOutput(serializers.ModelSerializer):
    """The update that was scheduled."""

    update_id = serializers.IntegerField(source="pk", read_only=True)
    device_id = serializers.CharField(source="device.device_id", read_only=True)
    version = serializers.CharField(source="to_version", read_only=True)

    class Meta:
        model = DeviceUpdate
        fields = ["update_id", "device_id", "kind", "status", "version", "scheduled_at"]
        read_only_fields = fields

from typing import Any

from rest_framework import serializers

from common import clock, limits
from devices.models import Device, DeviceEvent, DeviceGroup, Heartbeat


class TagsField(serializers.ListField):
    """Tags without repeats, in alphabetical order."""

    child = serializers.RegexField(r"^[\w.:/-]+$", max_length=limits.SHORT_CHARS)

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", limits.TAGS)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> list[str]:
        """Return the set as a sorted list."""
        return sorted(set(super().to_internal_value(data)))


class DeviceSummary(serializers.ModelSerializer):
    """A device in a list: identity, place, and the newest it said of itself."""

    status = serializers.ChoiceField(
        source="state.health", choices=Device.Health.choices, read_only=True
    )
    last_seen = serializers.DateTimeField(source="state.last_seen", read_only=True, allow_null=True)
    version = serializers.CharField(source="state.version", read_only=True)

    class Meta:
        model = Device
        fields = [
            "id",
            "device_id",
            "name",
            "status",
            "lifecycle",
            "last_seen",
            "version",
            "hostname",
            "platform",
            "arch",
            "role",
            "branch",
            "segment",
            "ip_address",
            "site",
            "tags",
            "maintenance_mode",
            "created_at",
        ]
        read_only_fields = fields


class LatestMetrics(serializers.Serializer):
    """The newest values a device sent; `at` is the moment they describe."""

    at = serializers.DateTimeField(allow_null=True)
    cpu_percent = serializers.FloatField(allow_null=True)
    mem_percent = serializers.FloatField(allow_null=True)
    disk_percent = serializers.FloatField(allow_null=True)
    disk_free_gb = serializers.FloatField(allow_null=True)
    temperature_c = serializers.FloatField(allow_null=True)
    containers_running = serializers.IntegerField(allow_null=True)
    containers_failed = serializers.IntegerField(allow_null=True)
    uptime_seconds = serializers.IntegerField(allow_null=True)
    skew_ms = serializers.IntegerField(allow_null=True)
    boot_id = serializers.CharField()
    agent_version = serializers.CharField()
    last_convergence = serializers.DateTimeField(allow_null=True)
    metrics = serializers.DictField()
    status = serializers.DictField()
    errors = serializers.ListField(child=serializers.CharField())  # type: ignore[assignment]


class DeviceOutput(DeviceSummary):
    """Everything known of one device."""

    latest = LatestMetrics(source="state", read_only=True)
    status_since = serializers.DateTimeField(
        source="state.health_since", read_only=True, allow_null=True
    )
    status_override = serializers.ChoiceField(
        choices=Device.Health.choices, allow_blank=True, read_only=True
    )
    current_commit_hash = serializers.CharField(source="state.commit", read_only=True)
    groups: Any = serializers.SlugRelatedField(slug_field="name", many=True, read_only=True)
    rollout_eligible = serializers.SerializerMethodField()

    class Meta(DeviceSummary.Meta):
        fields = [
            *DeviceSummary.Meta.fields,
            "status_since",
            "status_override",
            "status_override_reason",
            "status_override_until",
            "current_commit_hash",
            "target_version",
            "serial",
            "hardware_profile",
            "owner",
            "latitude",
            "longitude",
            "metadata",
            "groups",
            "update_enabled",
            "safe_mode",
            "rollout_eligible",
            "version_lock",
            "version_lock_owner",
            "version_lock_reason",
            "version_lock_expires_at",
            "update_interval_s",
            "heartbeat_interval_s",
            "command_poll_interval_s",
            "enrolled_by",
            "updated_at",
            "retired_at",
            "latest",
        ]
        read_only_fields = fields

    def get_rollout_eligible(self, device: Device) -> bool:
        """Say whether anything about the device itself keeps updates away."""
        return (
            device.lifecycle == Device.Lifecycle.ACTIVE
            and device.update_enabled
            and not device.maintenance_mode
            and not device.safe_mode
            and not device.locked_to(clock.now())
        )


class MetadataField(serializers.DictField):
    """Free facts about a device; a small JSON object."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("required", False)
        super().__init__(**kwargs)


class DeviceUpdateInput(serializers.ModelSerializer):
    """What operators change; only the fields in the body are written."""

    tags = TagsField(required=False)
    metadata = MetadataField()
    groups = serializers.ListField(
        child=serializers.CharField(max_length=limits.NAME_CHARS),
        required=False,
        max_length=50,
        help_text="Names of groups; the whole set.",
    )

    class Meta:
        model = Device
        fields = [
            "name",
            "hostname",
            "role",
            "branch",
            "segment",
            "ip_address",
            "serial",
            "hardware_profile",
            "owner",
            "site",
            "latitude",
            "longitude",
            "metadata",
            "tags",
            "groups",
            "maintenance_mode",
            "update_enabled",
            "version_lock",
            "version_lock_owner",
            "version_lock_reason",
            "version_lock_expires_at",
            "update_interval_s",
            "heartbeat_interval_s",
            "command_poll_interval_s",
        ]


class StatusInput(serializers.Serializer):
    """A health to show whatever the device says; null lifts it."""

    status = serializers.ChoiceField(choices=Device.Health.choices, allow_null=True)
    reason = serializers.CharField(max_length=limits.LINE_CHARS, required=False, default="")
    expires_in_s = serializers.IntegerField(
        min_value=60, max_value=30 * 86_400, required=False, allow_null=True
    )


class ReasonInput(serializers.Serializer):
    """Why; it goes into the log."""

    reason = serializers.CharField(
        max_length=limits.LINE_CHARS, required=False, default="", allow_blank=True
    )


class HeartbeatOutput(serializers.ModelSerializer):
    """One stored heartbeat."""

    metrics = serializers.DictField(read_only=True, allow_null=True)
    status = serializers.DictField(read_only=True, allow_null=True)
    errors = serializers.ListField(  # type: ignore[assignment]
        child=serializers.CharField(), read_only=True, allow_null=True
    )

    class Meta:
        model = Heartbeat
        fields = [
            "at",
            "received_at",
            "boot_id",
            "sequence",
            "health",
            "version",
            "commit",
            "uptime_seconds",
            "cpu_percent",
            "mem_percent",
            "disk_percent",
            "disk_free_gb",
            "temperature_c",
            "containers_running",
            "containers_failed",
            "metrics",
            "status",
            "errors",
        ]
        read_only_fields = fields


class EventOutput(serializers.ModelSerializer):
    """One line of a device's history."""

    event_type = serializers.CharField(source="kind", read_only=True)

    class Meta:
        model = DeviceEvent
        fields = ["id", "at", "event_type", "severity", "message", "details"]
        read_only_fields = fields


class MetricsQuery(serializers.Serializer):
    """Which metric, from when to when, in steps of so many seconds."""

    metric = serializers.CharField(max_length=limits.SHORT_CHARS, default="cpu_percent")
    to = serializers.DateTimeField(required=False)
    step = serializers.IntegerField(min_value=1, max_value=30 * 86_400, required=False)

    def get_fields(self) -> dict[str, Any]:
        """Add `from`, which Python keeps for itself."""
        fields: dict[str, Any] = super().get_fields()
        fields["from"] = serializers.DateTimeField(required=False)
        return fields


class MetricPoint(serializers.Serializer):
    """One bucket, beginning at `at`."""

    at = serializers.DateTimeField()
    count = serializers.IntegerField()
    avg = serializers.FloatField()
    min = serializers.FloatField()
    max = serializers.FloatField()
    p95 = serializers.FloatField()


class MetricsOutput(serializers.Serializer):
    """A metric in buckets of `step` seconds."""

    metric = serializers.CharField()
    step = serializers.IntegerField()
    points = MetricPoint(many=True)


class GroupSerializer(serializers.ModelSerializer):
    """A device group."""

    class Meta:
        model = DeviceGroup
        fields = ["id", "name", "description", "created_at"]
        read_only_fields = ["id", "created_at"]
        validators: list[Any] = []  # the service names the conflict

import re
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from common import limits
from releases.models import DeviceUpdate, UpdateEvent
from releases.services.ends import UpdateReport

_UNPRINTABLE = re.compile(r"[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]")
# What a device reports, and how earlier agents call it.
SAID = [
    *("downloading", "installing", "awaiting_confirmation", "claimed", "failed", "rolled_back"),
    "success",
]
_ALIASES = {
    "update_status": "status",
    "from_commit_hash": "from_commit",
    "to_commit_hash": "to_commit",
    "error_message": "error",
    "timing": "timings",
    "timing_data": "timings",
}


@extend_schema_field({"type": "string"})
class SaidField(serializers.Field):
    """Text of a device: what does not fit is cut off, since no report may be lost for its words."""

    def __init__(self, *, most: int = limits.SHORT_CHARS, **kwargs: Any) -> None:
        self.most = most
        super().__init__(required=False, default="", **kwargs)

    def validate_empty_values(self, data: Any) -> tuple[bool, Any]:
        """Take null for nothing said."""
        return super().validate_empty_values("" if data is None else data)

    def to_internal_value(self, data: Any) -> str:
        """Return the text without control characters."""
        if isinstance(data, dict | list):
            return ""
        return _UNPRINTABLE.sub("\ufffd", str(data))[: self.most]


@extend_schema_field({"type": "object", "additionalProperties": {"type": "number"}})
class TimingsField(serializers.Field):
    """Seconds by step; what is no number is left out."""

    def to_internal_value(self, data: Any) -> dict[str, float]:
        """Return the first steps with sensible times, to the millisecond."""
        if not isinstance(data, dict):
            return {}
        kept: dict[str, float] = {}
        for name, value in list(data.items())[: limits.UPDATE_TIMINGS]:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if is_number and 0 <= value <= limits.INT_MAX:
                kept[_UNPRINTABLE.sub("", str(name))[: limits.SHORT_CHARS]] = round(value, 3)
        return kept


class UpdateReportInput(serializers.Serializer):
    """A step of an update, or its outcome.

    Agents of other makes may say `update_status` (success, failed, rolled_back),
    `from_commit_hash`, `to_commit_hash`, `error_message` and `timing` instead, without
    `update_id`. Text that is too long is cut off.
    """

    update_id = serializers.IntegerField(
        min_value=1, max_value=limits.INT_MAX, required=False, allow_null=True
    )
    status = serializers.ChoiceField(choices=SAID)
    step = SaidField()
    progress = serializers.IntegerField(
        min_value=0, max_value=100, required=False, allow_null=True, default=None
    )
    from_version = SaidField()
    from_commit = SaidField()
    to_version = SaidField()
    to_commit = SaidField()
    running_version = SaidField()
    failure_class = serializers.ChoiceField(
        choices=DeviceUpdate.FailureClass.choices, required=False, allow_blank=True, default=""
    )
    error_code = SaidField()
    error = SaidField(most=limits.COMMAND_ERROR_CHARS)
    health_check_passed = serializers.BooleanField(required=False, allow_null=True, default=None)
    timings = TimingsField(required=False, default=dict)

    def to_internal_value(self, data: Any) -> Any:
        """Take the names of earlier agents too; a total duration is a timing."""
        if isinstance(data, dict):
            data = {_ALIASES.get(name, name): value for name, value in data.items()}
            if "duration_seconds" in data:
                data.setdefault("timings", {"total": data.pop("duration_seconds")})
        return super().to_internal_value(data)

    def report(self) -> UpdateReport:
        """Return what was said; `success` is a claim."""
        given = {name: value for name, value in self.validated_data.items() if name != "update_id"}
        if given["status"] == "success":
            given["status"] = DeviceUpdate.Status.CLAIMED.value
        return UpdateReport(**given)


class UpdateTaken(serializers.Serializer):
    """That a report was taken, and where the update is now."""

    update_id = serializers.IntegerField()
    status = serializers.ChoiceField(choices=DeviceUpdate.Status.choices)
    accepted = serializers.BooleanField()


class OfferBundle(serializers.Serializer):
    """Where the bundle is; the link works for `expires_in_s` seconds."""

    url = serializers.CharField()
    size = serializers.IntegerField()
    sha256 = serializers.CharField()
    expires_in_s = serializers.IntegerField()


class OfferOutput(serializers.Serializer):
    """What the device should install. `target_path` names the signed manifest to check it with."""

    update_id = serializers.IntegerField(source="update.pk")
    kind = serializers.ChoiceField(source="update.kind", choices=DeviceUpdate.Kind.choices)
    release_id = serializers.UUIDField(source="update.release_id")
    version = serializers.CharField(source="update.to_version")
    commit = serializers.CharField(source="update.to_commit")
    counter = serializers.IntegerField()
    role = serializers.CharField(source="artifact.role_name")
    segment = serializers.CharField()
    target_path = serializers.CharField()
    bundle = serializers.SerializerMethodField()
    from_version = serializers.CharField(source="update.from_version")
    timeout_s = serializers.IntegerField()
    is_paused = serializers.BooleanField(source="update.is_paused")
    chaos = serializers.DictField()

    @extend_schema_field(OfferBundle)
    def get_bundle(self, offer: Any) -> dict[str, Any]:
        """Return where the bundle is."""
        bundle = {
            "url": offer.link.url,
            "size": offer.artifact.size,
            "sha256": offer.artifact.sha256,
            "expires_in_s": offer.link.expires_in_s,
        }
        return dict(OfferBundle(bundle).data)


class UpdateOutput(serializers.ModelSerializer):
    """One try to bring one device to one release."""

    update_id = serializers.IntegerField(source="pk", read_only=True)
    device_id = serializers.CharField(source="device.device_id", read_only=True)
    release_id = serializers.UUIDField(read_only=True, allow_null=True)
    rollout_id = serializers.UUIDField(read_only=True, allow_null=True)
    timings = serializers.DictField(child=serializers.FloatField(), read_only=True)
    failure_class = serializers.CharField(
        read_only=True,
        help_text="network, verification, space, install, health, timeout, interrupted, refused,"
        " false_success, or empty.",
    )

    class Meta:
        model = DeviceUpdate
        fields = [
            *("update_id", "device_id", "release_id", "rollout_id", "kind", "segment"),
            *("from_version", "from_commit", "to_version", "to_commit", "status", "is_paused"),
            *("step", "progress", "failure_class", "error_code", "error", "health_check_passed"),
            *("timings", "verify_minutes", "scheduled_at", "offered_at", "started_at"),
            *("claimed_at", "healthy_since", "deadline_at", "finished_at", "created_by", "reason"),
        ]
        read_only_fields = fields


class UpdateStepOutput(serializers.ModelSerializer):
    """One step of an update, as the database wrote it down."""

    to = serializers.CharField(source="to_status", read_only=True)

    class Meta:
        model = UpdateEvent
        fields = ["at", "to", "step", "detail"]
        read_only_fields = fields

    def get_fields(self) -> dict[str, Any]:
        """Add `from`, which no attribute of a class can be called."""
        begin = serializers.CharField(source="from_status", read_only=True)
        return {"from": begin, **super().get_fields()}


class UpdateDetailOutput(UpdateOutput):
    """An update with its trail, oldest step first."""

    trail = serializers.SerializerMethodField()

    class Meta(UpdateOutput.Meta):
        fields = [*UpdateOutput.Meta.fields, "trail"]
        read_only_fields = fields

    @extend_schema_field(UpdateStepOutput(many=True))
    def get_trail(self, update: DeviceUpdate) -> list[Any]:
        """Return the newest steps."""
        steps = update.events.order_by("-pk")[: limits.UPDATE_STEPS_SHOWN]
        return list(UpdateStepOutput(reversed(steps), many=True).data)

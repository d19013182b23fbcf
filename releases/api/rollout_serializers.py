from datetime import datetime
from typing import Any

from rest_framework import serializers

from common import limits
from devices.models import Device
from releases.api.plan_serializers import PlanInput
from releases.models import Rollout, RolloutEvent, RolloutStage, RolloutTarget
from releases.selectors.progress import FAILURES, STATES
from releases.services.promoting import soak_end


class RolloutInput(PlanInput):
    """A plan for a release, named by its version or id. It is a draft until it is started."""

    release = serializers.RegexField(limits.VERSION_PATTERN, max_length=limits.SHORT_CHARS)
    name = serializers.CharField(max_length=limits.NAME_CHARS, required=False)


class RolloutChange(PlanInput):
    """Members of a draft that change; the others stay."""

    name = serializers.CharField(max_length=limits.NAME_CHARS, required=False)


class RolloutReason(serializers.Serializer):
    """Why; it goes into the log and the story of the rollout."""

    reason = serializers.CharField(
        max_length=limits.LINE_CHARS, required=False, default="", allow_blank=True
    )


class RolloutReasonNeeded(serializers.Serializer):
    """Why; it goes into the log and the story of the rollout."""

    reason = serializers.CharField(max_length=limits.LINE_CHARS)


class PromoteInput(RolloutReason):
    """Either the segment whose stage opens, or the percentage of the open stage.

    Each has two spellings. With a `reason` the soak time may be cut short.
    """

    targetSegment = serializers.ChoiceField(  # noqa: N815 - named by the wire
        choices=Device.Segment.choices, required=False
    )
    target_segment = serializers.ChoiceField(choices=Device.Segment.choices, required=False)
    rolloutPercentage = serializers.IntegerField(  # noqa: N815 - named by the wire
        min_value=1, max_value=100, required=False
    )
    rollout_percentage = serializers.IntegerField(min_value=1, max_value=100, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse none and several."""
        named = [
            (name, attrs[spelling])
            for name, spellings in (
                ("target_segment", ("targetSegment", "target_segment")),
                ("percentage", ("rolloutPercentage", "rollout_percentage")),
            )
            for spelling in spellings
            if spelling in attrs
        ]
        if len(named) != 1:
            raise serializers.ValidationError(
                "Name either targetSegment or rolloutPercentage, once."
            )
        return {"reason": attrs["reason"], **dict(named)}


class StageOutput(serializers.ModelSerializer):
    """A stage. `soak_ends_at` is null until enough of its devices have ended."""

    soak_ends_at = serializers.SerializerMethodField()

    class Meta:
        model = RolloutStage
        fields = [
            *("segment", "percentage", "soak_minutes", "soak_after_percent", "opened_at"),
            *("opened_by", "soaking_since", "soak_ends_at", "override_reason", "overridden_by"),
        ]
        read_only_fields = fields

    def get_soak_ends_at(self, stage: RolloutStage) -> datetime | None:
        """Return when its soak time is over."""
        return soak_end(stage)


class RolloutOutput(serializers.ModelSerializer):
    """A rollout; `release` is the version."""

    release = serializers.CharField(source="release.version", read_only=True)
    release_id = serializers.UUIDField(read_only=True)

    class Meta:
        model = Rollout
        fields = [
            *("id", "name", "release", "release_id", "status", "reason", "total"),
            *("approval_needed", "approved_at", "approved_by", "created_at", "created_by"),
            *("started_at", "finished_at"),
        ]
        read_only_fields = fields


class SegmentProgressOutput(serializers.Serializer):
    """The devices of one segment by state; `waiting` have no update yet."""

    segment = serializers.CharField()
    total = serializers.IntegerField()
    by_state = serializers.DictField(child=serializers.IntegerField())


class RolloutProgressOutput(serializers.Serializer):
    """How far a rollout is, over the devices the caller sees."""

    total = serializers.IntegerField()
    by_state = serializers.DictField(child=serializers.IntegerField())
    by_segment = SegmentProgressOutput(many=True)


class RolloutFailureOutput(serializers.Serializer):
    """What ended badly in one way, with some of the devices.

    Reasons that differ in numbers only are one; `error` is the first of them.
    """

    status = serializers.ChoiceField(choices=FAILURES)
    failure_class = serializers.CharField()
    error_code = serializers.CharField()
    error = serializers.CharField()
    count = serializers.IntegerField()
    devices = serializers.ListField(child=serializers.CharField())


class RolloutDetail(RolloutOutput):
    """A rollout with its plan, its progress and its failures by reason.

    `selection` is null for callers who do not see every device of it.
    """

    selection = serializers.DictField(read_only=True, allow_null=True)
    stages = StageOutput(source="ordered_stages", many=True, read_only=True)
    window = serializers.DictField(read_only=True, allow_null=True)
    blackouts = serializers.ListField(child=serializers.DictField(), read_only=True)
    failure_rules = serializers.ListField(child=serializers.DictField(), read_only=True)
    regression = serializers.DictField(read_only=True)
    evidence = serializers.DictField(read_only=True)
    drill = serializers.DictField(read_only=True, allow_null=True)
    halted_by_rule = serializers.DictField(read_only=True, allow_null=True)
    progress = RolloutProgressOutput(read_only=True)
    failures = RolloutFailureOutput(many=True, read_only=True)

    class Meta(RolloutOutput.Meta):
        fields = [
            *RolloutOutput.Meta.fields,
            *("selection", "stages", "include_new", "holdback_percent", "rate_per_minute"),
            *("concurrency", "use_calendars", "window", "blackouts", "failure_rules"),
            *("regression", "evidence", "on_halt", "verify_minutes", "verify_timeout_minutes"),
            *("update_timeout_minutes", "auto_promote", "drill", "halted_by_rule", "progress"),
            "failures",
        ]
        read_only_fields = fields


class RolloutTargetOutput(serializers.ModelSerializer):
    """A device of a rollout. `state` is its update's, else waiting or left_out."""

    device_id = serializers.CharField(source="device.device_id", read_only=True)
    state = serializers.ChoiceField(choices=STATES, read_only=True)
    update_id = serializers.IntegerField(read_only=True, allow_null=True)
    step = serializers.CharField(source="update.step", default="", read_only=True)
    progress = serializers.IntegerField(
        source="update.progress", default=None, read_only=True, allow_null=True
    )
    failure_class = serializers.CharField(source="update.failure_class", default="", read_only=True)
    error = serializers.CharField(source="update.error", default="", read_only=True)
    finished_at = serializers.DateTimeField(
        source="update.finished_at", default=None, read_only=True, allow_null=True
    )

    class Meta:
        model = RolloutTarget
        fields = [
            *("device_id", "segment", "bucket", "left_out", "state", "update_id", "step"),
            *("progress", "failure_class", "error", "finished_at", "added_at"),
        ]
        read_only_fields = fields


class RolloutEventOutput(serializers.ModelSerializer):
    """Something that happened to a rollout."""

    details = serializers.DictField(read_only=True)

    class Meta:
        model = RolloutEvent
        fields = ["id", "at", "kind", "message", "details"]
        read_only_fields = fields

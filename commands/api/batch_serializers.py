from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rest_framework import serializers

from commands.api.options import OptionsInput
from commands.models import BatchTarget, Command, CommandBatch
from commands.services import batch_progress
from common import limits


class SelectionInput(serializers.Serializer):
    """Which devices: exactly one of the members.

    A device needs all of `tags`; `filter` takes what the list of devices is filtered by.
    """

    devices = serializers.ListField(
        child=serializers.RegexField(limits.DEVICE_ID_PATTERN, max_length=64),
        min_length=1,
        max_length=limits.BATCH_LISTED,
        required=False,
    )
    group = serializers.CharField(max_length=limits.NAME_CHARS, required=False)
    tags = serializers.ListField(
        child=serializers.CharField(max_length=limits.SHORT_CHARS),
        min_length=1,
        max_length=limits.TAGS,
        required=False,
    )
    filter = serializers.DictField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse none, several, and words that are no way to choose."""
        if len(attrs) != 1 or set(self.initial_names) - set(attrs):
            raise serializers.ValidationError(
                f"Choose devices in exactly one way of: {', '.join(self.fields)}."
            )
        return attrs

    @property
    def initial_names(self) -> list[str]:
        """The members that were sent, known or not."""
        parent: Any = self.parent
        given = parent.initial_data.get(self.field_name) if parent else self.initial_data
        return list(given) if isinstance(given, Mapping) else []


class WaveInput(serializers.Serializer):
    """A wave: so many devices, or so many per cent of all."""

    size = serializers.IntegerField(min_value=1, max_value=limits.BATCH_DEVICES, required=False)
    percent = serializers.IntegerField(min_value=1, max_value=100, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse both and neither."""
        if len(attrs) != 1:
            raise serializers.ValidationError("A wave has either a size or a percent.")
        return attrs


class AbortRuleInput(serializers.Serializer):
    """Stop when so many per cent of the completed commands ended like this.

    It is judged once `min_completed` commands have completed.
    """

    failure = serializers.ChoiceField(choices=["failed", "rejected", "timed_out", "all"])
    threshold_percent = serializers.IntegerField(min_value=1, max_value=100)
    min_completed = serializers.IntegerField(min_value=1, max_value=limits.BATCH_DEVICES, default=1)


class WindowInput(serializers.Serializer):
    """When commands may begin: from `start` on, by the clock of the time zone.

    `days` are weekdays from Monday, 0; none named are all. What was not begun when the window
    closes is taken back.
    """

    start = serializers.RegexField(r"^([01]\d|2[0-3]):[0-5]\d$")
    duration_minutes = serializers.IntegerField(min_value=1, max_value=24 * 60)
    timezone = serializers.CharField(max_length=limits.SHORT_CHARS, default="UTC")
    days = serializers.ListField(
        child=serializers.IntegerField(min_value=0, max_value=6), max_length=7, default=list
    )


class BatchPreviewInput(serializers.Serializer):
    """A selection, and how it would be parted."""

    selection = SelectionInput()
    waves: Any = serializers.ListSerializer(
        child=WaveInput(), required=False, max_length=limits.BATCH_WAVES
    )


class BatchInput(BatchPreviewInput):
    """One command for many devices, wave after wave.

    What the waves leave over is the last one; no waves are one. `wave_pause_s` begins when a wave
    is all out. A `draft` waits for POST start.
    """

    name = serializers.CharField(max_length=limits.NAME_CHARS)
    type = serializers.CharField(max_length=32, required=False)
    payload = serializers.DictField(required=False)
    template = serializers.UUIDField(required=False, allow_null=True)
    options = OptionsInput(required=False)
    wave_pause_s = serializers.IntegerField(
        min_value=0, max_value=limits.BATCH_PAUSE_MAX_S, default=0
    )
    abort_rules: Any = serializers.ListSerializer(
        child=AbortRuleInput(), required=False, max_length=limits.BATCH_ABORT_RULES
    )
    start_at = serializers.DateTimeField(required=False, allow_null=True)
    end_at = serializers.DateTimeField(required=False, allow_null=True)
    end_behavior = serializers.ChoiceField(
        choices=CommandBatch.End.choices, default=CommandBatch.End.STOP
    )
    window = WindowInput(required=False, allow_null=True)
    draft = serializers.BooleanField(default=False)


class BatchReasonInput(serializers.Serializer):
    """Why; it goes into the log."""

    reason = serializers.CharField(
        max_length=limits.LINE_CHARS, required=False, default="", allow_blank=True
    )


class BatchApproveInput(serializers.Serializer):
    """What the second person has to say."""

    reason = serializers.CharField(max_length=limits.LINE_CHARS)


class BatchCancelInput(BatchReasonInput):
    """With `force`, what devices hold or run is cancelled too."""

    force = serializers.BooleanField(default=False)


class BatchRetryInput(serializers.Serializer):
    """A `draft` waits for POST start."""

    draft = serializers.BooleanField(default=False)


class SkippedOutput(serializers.Serializer):
    """A device that takes no part, and why."""

    device_id = serializers.CharField()
    reason = serializers.CharField()


class BatchPreviewOutput(serializers.Serializer):
    """What a batch of this selection would be now. `devices` are the first by id."""

    count = serializers.IntegerField()
    by_wave = serializers.ListField(child=serializers.IntegerField())
    devices = serializers.ListField(child=serializers.CharField())
    skipped_count = serializers.IntegerField()
    skipped = SkippedOutput(many=True)


class BatchOutput(serializers.ModelSerializer):
    """A batch. `wave` is the one that is out, from 0; -1 before the first."""

    type = serializers.CharField(source="kind", read_only=True)
    payload = serializers.DictField(read_only=True)
    options = serializers.DictField(read_only=True)
    waves = serializers.ListField(child=serializers.DictField(), read_only=True)
    wave_sizes = serializers.ListField(child=serializers.IntegerField(), read_only=True)
    abort_rules = serializers.ListField(child=serializers.DictField(), read_only=True)
    window = serializers.DictField(read_only=True, allow_null=True)
    retry_of = serializers.UUIDField(source="retry_of_id", read_only=True, allow_null=True)
    total = serializers.IntegerField(read_only=True)

    class Meta:
        model = CommandBatch
        fields = [
            *("id", "name", "origin", "status", "type", "payload", "options", "total", "waves"),
            *("wave_sizes", "wave", "wave_pause_s", "next_wave_at", "abort_rules", "start_at"),
            *("end_at", "end_behavior", "window", "approval_needed", "approved_at"),
            *("approved_by", "created_at", "created_by", "started_at", "finished_at", "reason"),
            "retry_of",
        ]
        read_only_fields = fields


class WaveProgressOutput(serializers.Serializer):
    """The commands of one wave by status; `waiting` have none yet."""

    wave = serializers.IntegerField()
    total = serializers.IntegerField()
    by_status = serializers.DictField(child=serializers.IntegerField())


class ProgressOutput(serializers.Serializer):
    """How far a batch is; `skipped` devices take no part."""

    total = serializers.IntegerField()
    ended = serializers.IntegerField()
    by_status = serializers.DictField(child=serializers.IntegerField())
    by_wave = WaveProgressOutput(many=True)


class FailureOutput(serializers.Serializer):
    """What ended badly for one reason, with some of the devices."""

    status = serializers.ChoiceField(choices=Command.Status.choices)
    error_code = serializers.CharField()
    error = serializers.CharField()
    count = serializers.IntegerField()
    devices = serializers.ListField(child=serializers.CharField())


class SkippedReasonOutput(serializers.Serializer):
    """How many devices take no part for one reason, and some of them."""

    reason = serializers.CharField(source="skipped")
    count = serializers.IntegerField()
    devices = serializers.ListField(child=serializers.CharField(), source="examples")


class BatchDetail(BatchOutput):
    """A batch with its progress over the devices the caller sees.

    `selection` and `unmatched` are null for callers who do not see every device of it.
    """

    selection = serializers.DictField(read_only=True, allow_null=True)
    unmatched = SkippedOutput(many=True, read_only=True, allow_null=True)
    progress = ProgressOutput(read_only=True)
    failures = FailureOutput(many=True, read_only=True)
    skipped = SkippedReasonOutput(many=True, read_only=True)

    class Meta(BatchOutput.Meta):
        fields = [
            *BatchOutput.Meta.fields,
            *("selection", "unmatched", "progress", "failures", "skipped"),
        ]
        read_only_fields = fields


class BatchTargetOutput(serializers.ModelSerializer):
    """A device of a batch. `status` is its command's, else waiting or skipped."""

    device_id = serializers.CharField(source="device.device_id", read_only=True)
    command_id = serializers.UUIDField(read_only=True, allow_null=True)
    status = serializers.SerializerMethodField()
    error_code = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()
    finished_at = serializers.SerializerMethodField()

    class Meta:
        model = BatchTarget
        fields = [
            *("device_id", "wave", "status", "skipped", "command_id"),
            *("error_code", "error", "finished_at"),
        ]
        read_only_fields = fields

    def get_status(self, target: BatchTarget) -> str:
        """Return the command's status, waiting or skipped."""
        if target.command:
            return target.command.status
        return batch_progress.SKIPPED if target.skipped else batch_progress.WAITING

    def get_error_code(self, target: BatchTarget) -> str:
        """Return the command's error code."""
        return target.command.error_code if target.command else ""

    def get_error(self, target: BatchTarget) -> str:
        """Return the command's error."""
        return target.command.error if target.command else ""

    def get_finished_at(self, target: BatchTarget) -> datetime | None:
        """Return when the command ended."""
        return target.command.finished_at if target.command else None

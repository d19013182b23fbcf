from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rest_framework import serializers

from commands.api.batch_serializers import SelectionInput, WindowInput
from common import limits
from devices.models import Device
from releases.models import Rollout
from releases.services.guardrails import ALPHA, OBSERVE_MINUTES
from releases.services.plans import FAILURES, Plan, stage_complete


class RolloutSelectionInput(SelectionInput):
    """Which devices: exactly one of the members; `all` is every device of the release's roles."""

    all = serializers.BooleanField(required=False)

    def validate_all(self, value: bool) -> bool:  # noqa: FBT001 - DRF passes it
        """Refuse false: it chooses nobody."""
        if not value:
            raise serializers.ValidationError("Choose in another way, or leave it true.")
        return value


class StageInput(serializers.Serializer):
    """One segment's turn: so many per cent of it, and how long it is watched afterwards.

    The soak time begins when `soak_after_percent` of its devices have ended.
    """

    segment = serializers.ChoiceField(choices=Device.Segment.choices)
    percentage = serializers.IntegerField(min_value=1, max_value=100, required=False)
    soak_minutes = serializers.IntegerField(
        min_value=0, max_value=limits.SOAK_MAX_MINUTES, required=False
    )
    soak_after_percent = serializers.IntegerField(min_value=0, max_value=100, required=False)


class BlackoutInput(serializers.Serializer):
    """Nothing begins from `from` on, until `to`."""

    reason = serializers.CharField(
        max_length=limits.LINE_CHARS, required=False, default="", allow_blank=True
    )

    def get_fields(self) -> dict[str, Any]:
        """Add the members whose names Python keeps for itself."""
        return {
            "from": serializers.DateTimeField(),
            "to": serializers.DateTimeField(),
            **super().get_fields(),
        }


class FailureRuleInput(serializers.Serializer):
    """Halt when so many per cent of what has ended went wrong like this.

    It is judged once `min_completed` updates have ended.
    """

    failure = serializers.ChoiceField(choices=FAILURES)
    threshold_percent = serializers.IntegerField(min_value=1, max_value=100)
    min_completed = serializers.IntegerField(min_value=1, max_value=limits.ROLLOUT_DEVICES)


class RegressionInput(serializers.Serializer):
    """Halt when updated devices get ill more often than those like them: docs/decisions/0009.

    `alpha` is how likely a halt for nothing may be.
    """

    enabled = serializers.BooleanField(default=True)
    alpha = serializers.FloatField(min_value=1e-9, max_value=0.2, default=ALPHA)
    observe_minutes = serializers.IntegerField(
        min_value=1, max_value=7 * 24 * 60, default=OBSERVE_MINUTES
    )


class PlanInput(serializers.Serializer):
    """How a release reaches its devices. What is left out is as in docs/rollouts.md."""

    selection = RolloutSelectionInput(required=False)
    stages: Any = serializers.ListSerializer(
        child=StageInput(), required=False, min_length=1, max_length=3
    )
    holdback_percent = serializers.IntegerField(min_value=0, max_value=50, required=False)
    rate_per_minute = serializers.IntegerField(
        min_value=1, max_value=limits.ROLLOUT_RATE_MAX, required=False, allow_null=True
    )
    concurrency = serializers.IntegerField(
        min_value=1, max_value=limits.ROLLOUT_DEVICES, required=False, allow_null=True
    )
    use_calendars = serializers.BooleanField(required=False)
    window = WindowInput(required=False, allow_null=True)
    blackouts: Any = serializers.ListSerializer(
        child=BlackoutInput(), required=False, max_length=limits.ROLLOUT_BLACKOUTS
    )
    failure_rules: Any = serializers.ListSerializer(
        child=FailureRuleInput(), required=False, max_length=limits.ROLLOUT_RULES
    )
    regression = RegressionInput(required=False)
    on_halt = serializers.ChoiceField(choices=Rollout.OnHalt.choices, required=False)
    verify_minutes = serializers.IntegerField(
        min_value=0, max_value=limits.VERIFY_MAX_MINUTES, required=False
    )
    verify_timeout_minutes = serializers.IntegerField(
        min_value=1, max_value=limits.UPDATE_TIMEOUT_MAX_MINUTES, required=False
    )
    update_timeout_minutes = serializers.IntegerField(
        min_value=1, max_value=limits.UPDATE_TIMEOUT_MAX_MINUTES, required=False
    )
    auto_promote = serializers.BooleanField(required=False)
    include_new = serializers.BooleanField(required=False)


def plan_members(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a plan among validated values, as Plan and the row hold them."""
    members = {name: given[name] for name in vars(Plan()) if name in given}
    if "selection" in members:
        members["selection"] = dict(members["selection"])
    if "stages" in members:
        members["stages"] = [stage_complete(one) for one in members["stages"]]
    if "blackouts" in members:
        members["blackouts"] = [blackout_plain(one) for one in members["blackouts"]]
    return {name: _plain(value) for name, value in members.items()}


def blackout_plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a blackout in JSON values, its moments in UTC."""
    return {
        name: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
        for name, value in given.items()
    }


def _plain(value: Any) -> Any:
    """Return DRF's ordered mappings as plain ones."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value

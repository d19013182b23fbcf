"""The members every way of ordering a command takes."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from commands.models import Command
from commands.options import PRIORITIES, Options
from common import clock, limits
from devices.models import Device

_NAMES = [one.name for one in fields(Options)]


@extend_schema_field(
    {
        "oneOf": [
            {"type": "integer", "minimum": -100, "maximum": 100},
            {"type": "string", "enum": list(PRIORITIES)},
        ]
    }
)
class PriorityField(serializers.IntegerField):
    """A number, or the name of a class."""

    def to_internal_value(self, data: Any) -> int:
        """Return the number."""
        if isinstance(data, str) and data in PRIORITIES:
            return PRIORITIES[data]
        return int(super().to_internal_value(data))


class RetriesInput(serializers.Serializer):
    """Further attempts by the class of the failure. A refusal is never tried again."""

    network = serializers.IntegerField(
        min_value=0, max_value=limits.COMMAND_RETRIES_MAX, required=False
    )
    timeout = serializers.IntegerField(
        min_value=0, max_value=limits.COMMAND_RETRIES_MAX, required=False
    )
    failed = serializers.IntegerField(
        min_value=0, max_value=limits.COMMAND_RETRIES_MAX, required=False
    )


class OptionsInput(serializers.Serializer):
    """How a command is to be carried out. Durations are in seconds."""

    priority = PriorityField(min_value=-100, max_value=100, required=False)
    expires_in_s = serializers.IntegerField(
        min_value=limits.COMMAND_TTL_MIN_S, max_value=limits.COMMAND_TTL_MAX_S, required=False
    )
    not_before = serializers.DateTimeField(required=False, allow_null=True)
    run_timeout_s = serializers.IntegerField(
        min_value=1, max_value=limits.COMMAND_RUN_MAX_S, required=False
    )
    retries = RetriesInput(required=False)
    retry_backoff_s = serializers.IntegerField(
        min_value=1, max_value=limits.COMMAND_BACKOFF_MAX_S, required=False
    )
    expect_version = serializers.CharField(
        max_length=limits.SHORT_CHARS, required=False, allow_blank=True
    )
    expect_state = serializers.ChoiceField(
        choices=Device.Health.choices, required=False, allow_blank=True
    )
    on_mismatch = serializers.ChoiceField(choices=Command.Mismatch.choices, required=False)
    reconnect = serializers.ChoiceField(choices=Command.Reconnect.choices, required=False)
    reconnect_after_s = serializers.IntegerField(
        min_value=60, max_value=limits.COMMAND_TTL_MAX_S, required=False
    )

    def validate_not_before(self, value: Any) -> Any:
        """Refuse a schedule nobody will remember."""
        if value and value > clock.now() + timedelta(seconds=limits.COMMAND_TTL_MAX_S):
            raise serializers.ValidationError(
                f"At most {limits.COMMAND_TTL_MAX_S // 86_400} days ahead."
            )
        return value


def options_of(given: Mapping[str, Any], *, over: Mapping[str, Any] | None = None) -> Options:
    """Return the options among validated members; `over` are stored ones these replace."""
    named = {name: given[name] for name in _NAMES if name in given}
    return Options.stored({**(over or {}), **named})

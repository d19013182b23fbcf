from typing import Any

from rest_framework import serializers

from commands.api.options import OptionsInput
from commands.models import CommandTemplate, Script, ScriptVersion
from common import limits


class ScriptTextInput(serializers.Serializer):
    """One text of a script. Durations are seconds.

    `arguments_schema` is a JSON Schema with `properties` and `required`; each property is a
    string, integer, number or boolean. Devices get the arguments as environment variables.
    """

    interpreter = serializers.ChoiceField(
        choices=ScriptVersion.Interpreter.choices, default=ScriptVersion.Interpreter.SH
    )
    body = serializers.CharField(max_length=limits.SCRIPT_CHARS, trim_whitespace=False)
    arguments_schema = serializers.DictField(default=dict)
    timeout_s = serializers.IntegerField(
        min_value=1, max_value=limits.SCRIPT_RUN_MAX_S, default=limits.SCRIPT_RUN_S
    )
    output_bytes = serializers.IntegerField(
        min_value=limits.SCRIPT_OUTPUT_MIN_BYTES,
        max_value=limits.OUTPUT_TOTAL_CHARS,
        default=limits.OUTPUT_TOTAL_CHARS,
    )
    disruptive = serializers.BooleanField(default=False)


class ScriptInput(ScriptTextInput):
    """A script to store, with its first text."""

    name = serializers.SlugField(max_length=limits.SHORT_CHARS)
    description = serializers.CharField(max_length=limits.LINE_CHARS, default="", allow_blank=True)


class ScriptVersionOutput(serializers.ModelSerializer):
    """One text of a script, as it was signed. It never changes."""

    version = serializers.IntegerField(source="number")

    class Meta:
        model = ScriptVersion
        fields = [
            "id",
            "version",
            "interpreter",
            "body",
            "arguments_schema",
            "timeout_s",
            "output_bytes",
            "disruptive",
            "signature",
            "key_id",
            "created_at",
            "created_by",
        ]


class ScriptOutput(serializers.ModelSerializer):
    """A stored script; `version` is the newest. Devices run none that was withdrawn."""

    version = serializers.IntegerField(read_only=True)

    class Meta:
        model = Script
        fields = ["id", "name", "description", "version", "withdrawn_at", "created_at"]
        read_only_fields = ["id", "name", "withdrawn_at", "created_at"]


class TemplateSerializer(serializers.ModelSerializer):
    """A command to use again: name its id as `template` when a command or batch is ordered."""

    type = serializers.CharField(source="kind", max_length=32)
    payload = serializers.DictField(default=dict)
    options = OptionsInput(default=dict)

    class Meta:
        model = CommandTemplate
        fields = [
            "id",
            "name",
            "description",
            "type",
            "payload",
            "options",
            "created_at",
            "created_by",
        ]
        read_only_fields = ["id", "created_at", "created_by"]
        # A name that is taken is the service's refusal, with a code.
        validators: list[Any] = []

    def validate_options(self, value: dict[str, Any]) -> dict[str, Any]:
        """Return the options as JSON values."""
        return {name: OptionsInput(value).data[name] for name in value}

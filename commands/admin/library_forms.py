"""Forms of stored scripts and command templates."""

from dataclasses import asdict
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanSwitchWidget,
)

from commands import registry
from commands.models import CommandTemplate, Script, ScriptVersion
from commands.scripts import versions_of
from commands.services.library import ScriptText
from common import limits

TEXT = ["interpreter", "body", "arguments_schema", "timeout_s", "output_bytes", "disruptive"]


def _code(rows: int) -> UnfoldAdminTextareaWidget:
    attrs = {"rows": rows, "spellcheck": "false", "autocomplete": "off"}
    widget = UnfoldAdminTextareaWidget(attrs=attrs)
    widget.attrs["class"] = f"{widget.attrs.get('class', '')} fp-code"
    return widget


def _object(given: Any) -> dict[str, Any]:
    if not isinstance(given or {}, dict):
        raise forms.ValidationError("Enter a JSON object.")
    return dict(given or {})


class CodeField(forms.CharField):
    """A text whose line ends are those of the device, not of the browser."""

    def __init__(self, **options: Any) -> None:
        super().__init__(strip=False, **options)

    def to_python(self, value: Any) -> str:
        """Return the text with plain line ends."""
        return str(super().to_python(value)).replace("\r\n", "\n")


class ScriptForm(forms.ModelForm):
    """A script and its newest text; another text becomes a version of its own."""

    interpreter = forms.ChoiceField(
        choices=ScriptVersion.Interpreter.choices, widget=UnfoldAdminSelectWidget()
    )
    body = CodeField(label="Script", max_length=limits.SCRIPT_CHARS, widget=_code(18))
    arguments_schema = forms.JSONField(
        label="Arguments",
        required=False,
        widget=_code(6),
        help_text='As JSON Schema: {"properties": {"unit": {"type": "string"}},'
        ' "required": ["unit"]}. The script gets them as environment variables.',
    )
    timeout_s = forms.IntegerField(
        label="Stop after seconds",
        min_value=1,
        max_value=limits.SCRIPT_RUN_MAX_S,
        widget=UnfoldAdminIntegerFieldWidget(),
    )
    output_bytes = forms.IntegerField(
        label="Keep output up to bytes",
        min_value=limits.SCRIPT_OUTPUT_MIN_BYTES,
        max_value=limits.OUTPUT_TOTAL_CHARS,
        widget=UnfoldAdminIntegerFieldWidget(),
    )
    disruptive = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Disturbs what the device does: runs alone.",
    )

    class Meta:
        model = Script
        fields = ["name", "description"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        newest = self.newest()
        shown = {name: getattr(newest, name) for name in TEXT} if newest else asdict(ScriptText(""))
        self.initial = {**shown, **self.initial}

    def newest(self) -> ScriptVersion | None:
        """Return the newest version of a script that is stored."""
        return versions_of(self.instance).first()

    def clean_arguments_schema(self) -> dict[str, Any]:
        """Return the schema; nothing entered means no arguments."""
        return _object(self.cleaned_data["arguments_schema"])


class TemplateForm(forms.ModelForm):
    """A command to use again."""

    kind = forms.ChoiceField(label="Command", widget=UnfoldAdminSelectWidget())
    payload = forms.JSONField(required=False, widget=_code(6))

    class Meta:
        model = CommandTemplate
        fields = ["name", "description", "kind", "payload"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "kind" in self.fields:
            field: Any = self.fields["kind"]
            field.choices = [(kind.name, kind.label) for kind in registry.kinds()]

    def clean_payload(self) -> dict[str, Any]:
        """Return the payload; its type decides whether it fits."""
        return _object(self.cleaned_data["payload"])

"""Forms made of the registry's JSON schemas: one per kind of command."""

from collections.abc import Callable
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from commands import registry
from common import limits

_UNSAID = [("", "As the device does by default"), ("true", "Yes"), ("false", "No")]


class PairsField(forms.CharField):
    """An object of texts, entered as one KEY=VALUE per line."""

    def clean(self, value: Any) -> dict[str, str]:
        """Return the pairs, or name the line that is none."""
        pairs = {}
        for line in filter(None, (line.strip() for line in super().clean(value).splitlines())):
            key, equals, text = line.partition("=")
            if not equals:
                raise forms.ValidationError(f"“{line[:40]}” is not KEY=VALUE.")
            pairs[key.strip()] = text.strip()
        return pairs


def _boolean(value: str) -> bool | None:
    return None if value == "" else value == "true"


def _text(schema: dict[str, Any], **common: Any) -> forms.Field:
    return forms.CharField(
        max_length=schema.get("maxLength", limits.LINE_CHARS),
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        **common,
    )


def _number(schema: dict[str, Any], **common: Any) -> forms.Field:
    return forms.IntegerField(
        min_value=schema.get("minimum"),
        max_value=schema.get("maximum"),
        widget=UnfoldAdminIntegerFieldWidget(),
        **common,
    )


def _choice(_schema: dict[str, Any], **common: Any) -> forms.Field:
    return forms.TypedChoiceField(
        choices=_UNSAID,
        coerce=_boolean,
        empty_value=None,
        widget=UnfoldAdminSelectWidget(),
        **common,
    )


def _pairs(_schema: dict[str, Any], **common: Any) -> forms.Field:
    return PairsField(
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4, "placeholder": "LOG_LEVEL=DEBUG"}),
        help_text="One KEY=VALUE per line.",
        max_length=limits.STRING_CHARS,
        **common,
    )


_FIELDS: dict[str, Callable[..., forms.Field]] = {
    "string": _text,
    "integer": _number,
    "boolean": _choice,
    "object": _pairs,
}


class PayloadForm(forms.Form):
    """The payload of one kind of command."""

    def __init__(self, kind: registry.CommandKind, data: Any = None) -> None:
        super().__init__(data, prefix=kind.name)
        self.kind = kind
        required = kind.schema.get("required", [])
        for name, schema in kind.schema.get("properties", {}).items():
            make = _FIELDS[schema.get("type", "string")]
            self.fields[name] = make(
                schema, label=name.replace("_", " ").capitalize(), required=name in required
            )

    def payload(self) -> dict[str, Any]:
        """Return what was entered; what was left empty is not sent."""
        return {
            name: value
            for name, value in self.cleaned_data.items()
            if value is not None and value != ""
        }


class QueueForm(forms.Form):
    """Which command, how urgent, and how long it may wait."""

    kind = forms.ChoiceField(label="Command", widget=UnfoldAdminSelectWidget())
    priority = forms.IntegerField(
        min_value=-100,
        max_value=100,
        initial=0,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Larger goes first.",
    )
    expires_in_min = forms.IntegerField(
        label="Expires after minutes",
        min_value=1,
        max_value=limits.COMMAND_TTL_MAX_S // 60,
        initial=limits.COMMAND_TTL_S // 60,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="A command that no device took up by then is dropped.",
    )
    devices = forms.CharField(widget=forms.HiddenInput())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["kind"]
        field.choices = [(kind.name, kind.label) for kind in registry.kinds()]

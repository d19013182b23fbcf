"""Forms made of the registry's JSON schemas: one per kind of command."""

import json
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


def _typed(text: str) -> str | float | bool:
    """Return the number or the truth a text names, else the text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) and -1e15 < value < 1e15 else text


def _shown(value: Any) -> str:
    """Return a number or a truth as `_typed` reads it, and a text as it is."""
    return value if isinstance(value, str) else json.dumps(value)


class PairsField(forms.CharField):
    """An object of texts, entered as one KEY=VALUE per line; `typed`: also numbers and truths."""

    def __init__(self, *, typed: bool = False, **common: Any) -> None:
        super().__init__(**common)
        self.typed = typed

    def prepare_value(self, value: Any) -> Any:
        """Show an object as lines."""
        if not isinstance(value, dict):
            return value
        return "\n".join(f"{key}={_shown(item)}" for key, item in value.items())

    def clean(self, value: Any) -> dict[str, Any]:
        """Return the pairs, or name the line that is none."""
        pairs: dict[str, Any] = {}
        for line in filter(None, (line.strip() for line in super().clean(value).splitlines())):
            key, equals, text = line.partition("=")
            if not equals:
                raise forms.ValidationError(f"“{line[:40]}” is not KEY=VALUE.")
            pairs[key.strip()] = _typed(text.strip()) if self.typed else text.strip()
        return pairs


class LinesField(forms.CharField):
    """A list of texts, one per line."""

    def prepare_value(self, value: Any) -> Any:
        """Show a list as lines."""
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        """Return the lines that are not empty."""
        return [line.strip() for line in super().clean(value).splitlines() if line.strip()]


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


def _pairs(schema: dict[str, Any], **common: Any) -> forms.Field:
    return PairsField(
        typed=schema["additionalProperties"]["type"] != "string",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4, "placeholder": "KEY=VALUE"}),
        help_text="One KEY=VALUE per line.",
        max_length=limits.STRING_CHARS,
        **common,
    )


def _lines(_schema: dict[str, Any], **common: Any) -> forms.Field:
    return LinesField(
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="One per line.",
        max_length=limits.STRING_CHARS,
        **common,
    )


def _decimal(schema: dict[str, Any], **common: Any) -> forms.Field:
    return forms.FloatField(
        min_value=schema.get("minimum"),
        max_value=schema.get("maximum"),
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}),
        **common,
    )


def _one_of(values: list[Any], **common: Any) -> forms.Field:
    offered = {str(value): value for value in values}
    return forms.TypedChoiceField(
        choices=[("", "None"), *[(word, word) for word in offered]],
        coerce=offered.__getitem__,
        empty_value=None,
        widget=UnfoldAdminSelectWidget(),
        **common,
    )


_FIELDS: dict[str, Callable[..., forms.Field]] = {
    "string": _text,
    "integer": _number,
    "number": _decimal,
    "boolean": _choice,
    "object": _pairs,
    "array": _lines,
}


def schema_field(name: str, schema: dict[str, Any], *, required: bool) -> forms.Field:
    """Return the field for one member of an object's JSON schema."""
    common: dict[str, Any] = {
        "label": schema.get("title") or name.replace("_", " ").capitalize(),
        "required": required,
    }
    if schema.get("description"):
        common["help_text"] = schema["description"]
    if schema.get("enum"):
        return _one_of(schema["enum"], **common)
    return _FIELDS[schema.get("type", "string")](schema, **common)


def initial_value(value: Any) -> Any:
    """Return a member of a payload as its field takes it."""
    return str(value).lower() if isinstance(value, bool) else value


class PayloadForm(forms.Form):
    """The payload of one kind of command."""

    # Fields of the kinds that are not chosen stay on the page, and need not be filled in.
    use_required_attribute = False

    def __init__(
        self,
        kind: registry.CommandKind,
        data: Any = None,
        initial: dict[str, Any] | None = None,
    ) -> None:
        shown = {name: initial_value(value) for name, value in (initial or {}).items()}
        super().__init__(data, prefix=kind.name, initial=shown)
        self.kind = kind
        required = kind.schema.get("required", [])
        for name, schema in kind.schema.get("properties", {}).items():
            self.fields[name] = schema_field(name, schema, required=name in required)

    def payload(self) -> dict[str, Any]:
        """Return what was entered; what was left empty is not sent."""
        return {
            name: value
            for name, value in self.cleaned_data.items()
            if value not in (None, "", [], {}) or name in self.kind.schema["required"]
        }

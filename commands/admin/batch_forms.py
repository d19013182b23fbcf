"""What people enter about a batch."""

import re
from typing import Any, cast

from django import forms
from django.db.models import QuerySet
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.admin_pages import VerbForm
from commands.models import CommandBatch
from commands.services import Plan
from common import limits
from devices.admin.forms import TagsField
from devices.models import Device, DeviceGroup

_ANY = ("", "Any")
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_wave = re.compile(r"(\d{1,6})\s*(%?)").fullmatch


class _MomentInput(UnfoldAdminTextInputWidget):
    input_type = "datetime-local"


class _TimeInput(UnfoldAdminTextInputWidget):
    input_type = "time"


def _text(label: str, chars: int, **more: Any) -> forms.CharField:
    return forms.CharField(
        label=label, max_length=chars, required=False, widget=UnfoldAdminTextInputWidget(), **more
    )


def _number(label: str, least: int, most: int, **more: Any) -> forms.IntegerField:
    more.setdefault("required", False)
    return forms.IntegerField(
        label=label,
        min_value=least,
        max_value=most,
        widget=UnfoldAdminIntegerFieldWidget(),
        **more,
    )


def _choice(label: str, choices: list[Any], **more: Any) -> forms.ChoiceField:
    return forms.ChoiceField(label=label, choices=choices, widget=UnfoldAdminSelectWidget(), **more)


class WavesField(forms.CharField):
    """Sizes and percents, parted by commas: “10, 25 %”."""

    def clean(self, value: Any) -> Any:
        """Return the waves as the API takes them, or name the word that is none."""
        waves = []
        for word in filter(None, (word.strip() for word in super().clean(value).split(","))):
            found = _wave(word)
            if found is None or not int(found[1]) or (found[2] and int(found[1]) > 100):
                raise forms.ValidationError(
                    f"“{word[:40]}” is neither a number of devices nor a percentage."
                )
            waves.append({"percent" if found[2] else "size": int(found[1])})
        if len(waves) > limits.BATCH_WAVES:
            raise forms.ValidationError(f"At most {limits.BATCH_WAVES} waves.")
        return waves


class NamesField(forms.CharField):
    """Device ids, parted by white space or commas."""

    def clean(self, value: Any) -> Any:
        """Return the ids in the order entered."""
        names = re.split(r"[\s,]+", super().clean(value))
        return [name for name in names if name]


class TargetForm(forms.Form):
    """Which devices, in one of four ways."""

    way = _choice(
        "Choose by",
        [
            ("filter", "What they are"),
            ("group", "Group"),
            ("tags", "Tags"),
            ("devices", "A list of ids"),
        ],
    )
    status = _choice("Health", [_ANY, *Device.Health.choices], required=False)
    role = _text("Role", limits.SHORT_CHARS)
    segment = _choice("Segment", [_ANY, *Device.Segment.choices], required=False)
    platform = _text("Platform", limits.SHORT_CHARS)
    version = _text("Version", limits.SHORT_CHARS)
    site = _text("Site", limits.NAME_CHARS)
    group = forms.ModelChoiceField(
        queryset=DeviceGroup.objects.none(), required=False, widget=UnfoldAdminSelectWidget()
    )
    tags = TagsField(required=False, help_text="Parted by commas; a device needs all of them.")
    devices = NamesField(
        required=False,
        max_length=limits.BATCH_LISTED * (limits.SHORT_CHARS + 2),
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 6, "placeholder": "studio-1\nstudio-2"}),
        label="Device ids",
        help_text="One per line.",
    )

    FILTERS = ("status", "role", "segment", "platform", "version", "site")

    def __init__(self, groups: QuerySet[DeviceGroup], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["group"]
        field.queryset = groups

    @property
    def filters(self) -> list[forms.BoundField]:
        """The fields of the way “filter”."""
        return [self[name] for name in self.FILTERS]

    def clean(self) -> dict[str, Any]:
        """Refuse a way without a value, except the filter: nothing entered is every device."""
        entered = super().clean() or self.cleaned_data
        way = entered.get("way")
        if way in ("group", "tags", "devices") and not entered.get(way) and way not in self.errors:
            self.add_error(cast("str", way), "Say which.")
        return entered

    def selection(self) -> dict[str, Any]:
        """Return what was chosen as the API takes it."""
        entered = self.cleaned_data
        if entered["way"] == "group":
            return {"group": str(entered["group"].pk)}
        if entered["way"] == "filter":
            return {"filter": {name: entered[name] for name in self.FILTERS if entered[name]}}
        return {entered["way"]: entered[entered["way"]]}


class WavesForm(forms.Form):
    """How the devices are parted: all the live count needs beside the devices."""

    waves = WavesField(
        required=False,
        max_length=limits.LINE_CHARS,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "10, 25%"}),
        help_text="Sizes or percents parted by commas; what they leave over is the last wave."
        " Empty: all at once.",
    )


class WindowForm(forms.Form):
    """The hours of a day in which something may begin."""

    window_start = forms.TimeField(
        label="Only from", required=False, widget=_TimeInput(), input_formats=["%H:%M", "%H:%M:%S"]
    )
    window_minutes = _number("For minutes", 1, 24 * 60)
    window_timezone = _text("Time zone", limits.SHORT_CHARS, initial="UTC")
    window_days = forms.TypedMultipleChoiceField(
        label="On",
        required=False,
        coerce=int,
        choices=list(enumerate(_DAYS)),
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        help_text="None: every day.",
    )

    def clean(self) -> dict[str, Any]:
        """Refuse half a window."""
        entered = super().clean() or self.cleaned_data
        if bool(entered.get("window_start")) != bool(entered.get("window_minutes")):
            self.add_error("window_start", "A window has a start and a length.")
        return entered

    def window(self) -> dict[str, Any] | None:
        """Return the window as batches and rollouts keep it, None without one."""
        entered = self.cleaned_data
        if not entered["window_start"]:
            return None
        return {
            "start": f"{entered['window_start']:%H:%M}",
            "duration_minutes": entered["window_minutes"],
            "timezone": entered["window_timezone"] or "UTC",
            "days": entered["window_days"],
        }


class PlanForm(WavesForm, WindowForm):
    """How it is called, and when it goes out."""

    name = forms.CharField(max_length=limits.NAME_CHARS, widget=UnfoldAdminTextInputWidget())
    wave_pause_min = _number(
        "Pause between waves, minutes",
        0,
        limits.BATCH_PAUSE_MAX_S // 60,
        help_text="Counted from the moment a wave is all out.",
    )
    start_at = forms.DateTimeField(label="Start (UTC)", required=False, widget=_MomentInput())
    end_at = forms.DateTimeField(label="End (UTC)", required=False, widget=_MomentInput())
    end_behavior = _choice("At the end", CommandBatch.End.choices, initial=CommandBatch.End.STOP)

    WINDOW = ("window_start", "window_minutes", "window_timezone", "window_days")

    @property
    def window_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.WINDOW]

    def plan(self, abort_rules: list[dict[str, Any]]) -> Plan:
        """Return how the batch goes out."""
        entered = self.cleaned_data
        return Plan(
            waves=entered["waves"],
            wave_pause_s=(entered["wave_pause_min"] or 0) * 60,
            abort_rules=abort_rules,
            start_at=entered["start_at"],
            end_at=entered["end_at"],
            end_behavior=entered["end_behavior"],
            window=self.window(),
        )


class AbortRuleForm(forms.Form):
    """One reason to stop; without a failure it is none."""

    failure = _choice(
        "Stop when",
        [
            ("", "Never"),
            ("all", "they end badly"),
            ("failed", "they fail"),
            ("rejected", "they are rejected"),
            ("timed_out", "they time out"),
        ],
        required=False,
    )
    threshold_percent = _number("At per cent of the completed", 1, 100, initial=10)
    min_completed = _number("Once so many completed", 1, limits.BATCH_DEVICES, initial=10)

    def rule(self) -> dict[str, Any] | None:
        """Return the rule as a batch keeps it."""
        entered = self.cleaned_data
        if not entered["failure"]:
            return None
        return {
            "failure": entered["failure"],
            "threshold_percent": entered["threshold_percent"] or 10,
            "min_completed": entered["min_completed"] or 1,
        }


RULES = ["rule-0", "rule-1"]


class BatchReasonForm(VerbForm):
    """Why somebody does something to a batch, and whether devices are asked to stop."""

    force = forms.BooleanField(required=False)

"""What people enter about a rollout."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from common import limits
from devices.models import Device
from releases.models import DeviceUpdate, Release, Rollout

STAGES = [("canary", 60), ("early", 24 * 60), ("general", 0)]


def _number(label: str, least: int, most: int, **more: Any) -> forms.IntegerField:
    more.setdefault("required", False)
    return forms.IntegerField(
        label=label, min_value=least, max_value=most, widget=UnfoldAdminIntegerFieldWidget(), **more
    )


def _switch(label: str, **more: Any) -> forms.BooleanField:
    return forms.BooleanField(
        label=label, required=False, widget=UnfoldBooleanSwitchWidget(), **more
    )


class StageForm(forms.Form):
    """One segment's turn."""

    takes_part = _switch("Takes part", initial=True)
    percentage = _number("Percent of its devices", 1, 100, initial=100)
    soak_minutes = _number(
        "Soak time, minutes",
        0,
        limits.SOAK_MAX_MINUTES,
        help_text="From the moment most of its devices have ended.",
    )

    def __init__(self, segment: str, soak: int, data: Any = None) -> None:
        super().__init__(data, prefix=segment)
        self.segment = segment
        self.label = Device.Segment(segment).label
        self.fields["soak_minutes"].initial = soak

    def stage(self) -> dict[str, Any] | None:
        """Return the stage as a plan takes it, None when the segment takes no part."""
        entered = self.cleaned_data
        if not entered["takes_part"]:
            return None
        return {
            "segment": self.segment,
            "percentage": entered["percentage"] or 100,
            "soak_minutes": entered["soak_minutes"] or 0,
        }


class RolloutForm(forms.Form):
    """What goes out, how fast, and how it is proved."""

    release = forms.ModelChoiceField(
        queryset=Release.objects.none(), widget=UnfoldAdminSelectWidget()
    )
    name = forms.CharField(
        max_length=limits.NAME_CHARS,
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Empty: after the release.",
    )
    rate_per_minute = _number("New updates a minute", 1, limits.ROLLOUT_RATE_MAX)
    concurrency = _number("At once", 1, limits.ROLLOUT_DEVICES)
    holdback_percent = _number(
        "Held back, percent",
        0,
        50,
        initial=0,
        help_text="They get nothing until you say so, and show what is normal.",
    )
    verify_minutes = _number(
        "Verified after healthy minutes", 1, limits.VERIFY_MAX_MINUTES, initial=5, required=True
    )
    update_timeout_minutes = _number(
        "Given up after minutes",
        1,
        limits.UPDATE_TIMEOUT_MAX_MINUTES,
        initial=120,
        required=True,
        help_text="From the offer to the device's claim.",
    )
    auto_promote = _switch("The next stage opens by itself after the soak time")
    include_new = _switch("Devices that come to fit later join in", initial=True)
    use_calendars = _switch("Obey the sites' calendars", initial=True)
    regression = _switch(
        "Halt when updated devices do worse than others like them",
        initial=True,
        help_text="A sequential test of pairs; the chance of a false alarm is 0.1 %.",
    )
    on_halt = forms.ChoiceField(
        label="On a halt",
        choices=Rollout.OnHalt.choices,
        initial=Rollout.OnHalt.HALT,
        widget=UnfoldAdminSelectWidget(),
    )

    SPEED = ("rate_per_minute", "concurrency", "holdback_percent")
    PROOF = ("verify_minutes", "update_timeout_minutes", "on_halt")
    SWITCHES = ("regression", "auto_promote", "include_new", "use_calendars")

    def __init__(self, releases: QuerySet[Release], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["release"]
        field.queryset = releases

    def _some(self, names: tuple[str, ...]) -> list[forms.BoundField]:
        return [self[name] for name in names]

    @property
    def speed(self) -> list[forms.BoundField]:
        return self._some(self.SPEED)

    @property
    def proof(self) -> list[forms.BoundField]:
        return self._some(self.PROOF)

    @property
    def switches(self) -> list[forms.BoundField]:
        return self._some(self.SWITCHES)


class FailureRuleForm(forms.Form):
    """One reason to halt; without a failure it is none."""

    failure = forms.ChoiceField(
        label="Halt when",
        required=False,
        choices=[
            ("", "Never"),
            ("all", "updates fail"),
            *((value, f"they fail: {label}") for value, label in DeviceUpdate.FailureClass.choices),
        ],
        widget=UnfoldAdminSelectWidget(),
    )
    threshold_percent = _number("At percent of the ended", 1, 100)
    min_completed = _number("Once so many ended", 1, limits.ROLLOUT_DEVICES)

    def rule(self) -> dict[str, Any] | None:
        """Return the rule as a rollout keeps it."""
        entered = self.cleaned_data
        if not entered["failure"]:
            return None
        return {
            "failure": entered["failure"],
            "threshold_percent": entered["threshold_percent"] or 20,
            "min_completed": entered["min_completed"] or 1,
        }

"""How a command is to be carried out, as people enter it."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from commands.models import Command
from commands.options import PRIORITIES, Options
from common import clock, limits
from devices.models import Device

_MINUTE = 60
_HOUR = 3_600


class MomentInput(UnfoldAdminTextInputWidget):
    """The browser's own picker of day and time."""

    input_type = "datetime-local"

    def format_value(self, value: Any) -> Any:
        """Return a moment as the picker reads it; what was entered stays as it is."""
        return f"{value:%Y-%m-%dT%H:%M}" if isinstance(value, datetime) else value


def _number(label: str, least: int, most: int, **more: Any) -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        min_value=least,
        max_value=most,
        required=False,
        widget=UnfoldAdminIntegerFieldWidget(),
        **more,
    )


def _choice(label: str, choices: list[Any], **more: Any) -> forms.ChoiceField:
    return forms.ChoiceField(
        label=label, choices=choices, required=False, widget=UnfoldAdminSelectWidget(), **more
    )


class OptionsForm(forms.Form):
    """Urgency and time to live, and everything that is seldom needed."""

    urgency = _choice(
        "Priority", [(name, name.capitalize()) for name in PRIORITIES], initial="normal"
    )
    expires_in_min = forms.IntegerField(
        label="Expires after minutes",
        min_value=1,
        max_value=limits.COMMAND_TTL_MAX_S // _MINUTE,
        initial=limits.COMMAND_TTL_S // _MINUTE,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="A command that no device took up by then is dropped.",
    )
    priority = _number(
        "Priority as a number", -100, 100, help_text="Instead of the class. Larger goes first."
    )
    not_before = forms.DateTimeField(label="Not before (UTC)", required=False, widget=MomentInput())
    run_timeout_min = _number(
        "May run for minutes",
        1,
        limits.COMMAND_RUN_MAX_S // _MINUTE,
        help_text=f"Empty: {limits.COMMAND_RUN_S // _MINUTE}.",
    )
    retry_network = _number("Try again: network failed", 0, limits.COMMAND_RETRIES_MAX)
    retry_timeout = _number("Try again: took too long", 0, limits.COMMAND_RETRIES_MAX)
    retry_failed = _number("Try again: failed", 0, limits.COMMAND_RETRIES_MAX)
    retry_backoff_s = _number(
        "First pause in seconds",
        1,
        limits.COMMAND_BACKOFF_MAX_S,
        help_text="Doubles with each further attempt.",
    )
    expect_version = forms.CharField(
        label="Only at version",
        max_length=limits.SHORT_CHARS,
        required=False,
        widget=UnfoldAdminTextInputWidget(),
    )
    expect_state = _choice("Only in state", [("", "Any"), *Device.Health.choices])
    on_mismatch = _choice("Otherwise", Command.Mismatch.choices)
    reconnect = _choice("Device back after long", Command.Reconnect.choices)
    reconnect_after_h = _number(
        "Long means hours",
        1,
        limits.COMMAND_TTL_MAX_S // _HOUR,
        help_text=f"Empty: {limits.COMMAND_RECONNECT_S // _HOUR}.",
    )

    SHOWN = ("urgency", "expires_in_min")

    @property
    def shown(self) -> list[forms.BoundField]:
        """The fields that always stand on the page."""
        return [self[name] for name in self.SHOWN]

    @property
    def more(self) -> list[forms.BoundField]:
        """The fields behind “More”."""
        return [field for field in self if field.name not in self.SHOWN and not field.is_hidden]

    @property
    def opens_more(self) -> bool:
        """Say whether something behind “More” was filled in or is wrong."""
        return any(field.errors or self._is_filled(field) for field in self.more)

    def _is_filled(self, field: forms.BoundField) -> bool:
        value = field.value()
        choices: Any = getattr(field.field, "choices", None)
        usual = str(choices[0][0]) if choices else ""
        return value is not None and str(value) not in ("", usual)

    def clean_not_before(self) -> Any:
        """Refuse a schedule nobody will remember."""
        moment = self.cleaned_data["not_before"]
        most = timedelta(seconds=limits.COMMAND_TTL_MAX_S)
        if moment and moment > clock.now() + most:
            raise forms.ValidationError(f"At most {most.days} days ahead.")
        return moment

    def options(self) -> Options:
        """Return what was entered; what was left empty is as usual."""
        entered = self.cleaned_data
        retries = {name: entered[f"retry_{name}"] for name in ("network", "timeout", "failed")}
        by_class = PRIORITIES[entered["urgency"] or "normal"]
        run_min, after_h = entered["run_timeout_min"], entered["reconnect_after_h"]
        usual = Options()
        return Options(
            priority=by_class if entered["priority"] is None else entered["priority"],
            expires_in_s=_MINUTE * entered["expires_in_min"],
            not_before=entered["not_before"],
            run_timeout_s=_MINUTE * run_min if run_min else None,
            retries={name: count for name, count in retries.items() if count},
            retry_backoff_s=entered["retry_backoff_s"] or usual.retry_backoff_s,
            expect_version=entered["expect_version"],
            expect_state=entered["expect_state"],
            on_mismatch=entered["on_mismatch"] or usual.on_mismatch,
            reconnect=entered["reconnect"] or usual.reconnect,
            reconnect_after_s=_HOUR * after_h if after_h else usual.reconnect_after_s,
        )


def entered_as(options: Options) -> dict[str, Any]:
    """Return options as the form shows them; durations in its units, rounded up."""
    usual = Options()
    named = {number: name for name, number in PRIORITIES.items()}
    return {
        "urgency": named.get(options.priority, "normal"),
        "priority": None if options.priority in named else options.priority,
        "expires_in_min": -(-options.expires_in_s // _MINUTE),
        "not_before": options.not_before,
        "run_timeout_min": -(-options.run_timeout_s // _MINUTE) if options.run_timeout_s else None,
        **{f"retry_{name}": count for name, count in options.retries.items()},
        "retry_backoff_s": options.retry_backoff_s
        if options.retry_backoff_s != usual.retry_backoff_s
        else None,
        "expect_version": options.expect_version,
        "expect_state": options.expect_state,
        "on_mismatch": options.on_mismatch,
        "reconnect": options.reconnect,
        "reconnect_after_h": -(-options.reconnect_after_s // _HOUR)
        if options.reconnect_after_s != usual.reconnect_after_s
        else None,
    }

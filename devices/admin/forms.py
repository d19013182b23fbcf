"""What operators enter about devices."""

import json
from typing import Any

from django import forms
from django.contrib.postgres.forms import SimpleArrayField
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from common import limits
from common.parsers import check_json
from devices.models import Device, DeviceGroup

HOURS_MAX = 30 * 24


class TagsField(SimpleArrayField):
    """Tags parted by commas; spaces around them and repetitions do not count."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            forms.CharField(max_length=limits.SHORT_CHARS),
            max_length=limits.TAGS,
            widget=UnfoldAdminTextInputWidget(),
            **kwargs,
        )

    def prepare_value(self, value: Any) -> Any:
        """Show a list as words parted by commas."""
        return ", ".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        """Return the tags sorted, each once."""
        return sorted({tag.strip() for tag in super().clean(value) if tag.strip()})


class StrictJSONField(forms.JSONField):
    """An object that can be stored: no NUL, no number a column cannot hold, no deep nesting."""

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Show what was entered again, also what cannot be read."""
        try:
            return super().bound_data(data, initial)
        except RecursionError:
            return initial

    def to_python(self, value: Any) -> Any:
        """Refuse what JSON allows and the database does not."""
        try:
            found = super().to_python(value)
            check_json(found)
            json.dumps(found, allow_nan=False)
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(f"This cannot be stored: {error}.") from None
        if found is not None and not isinstance(found, dict):
            raise forms.ValidationError("Enter a JSON object: {“name”: “value”}.")
        return found or {}


class DeviceForm(forms.ModelForm):
    """The operator's columns of a device; what the device reports is not among them."""

    tags = TagsField(required=False, help_text="Parted by commas.")
    metadata = StrictJSONField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="A JSON object of your own.",
    )
    # Not named like the relation: Django would write it past the service.
    member_of = forms.ModelMultipleChoiceField(
        label="Groups",
        queryset=DeviceGroup.objects.none(),
        required=False,
        widget=UnfoldAdminSelectMultipleWidget(),
    )
    # Set on the class the admin makes for one request.
    group_choices: Any = None

    class Meta:
        model = Device
        fields = [
            "name", "role", "branch", "segment", "tags", "site", "owner", "hardware_profile",
            "serial", "latitude", "longitude", "metadata", "maintenance_mode", "update_enabled",
            "version_lock", "version_lock_reason", "version_lock_expires_at", "update_interval_s",
            "heartbeat_interval_s", "command_poll_interval_s",
        ]  # fmt: skip
        labels = {
            "heartbeat_interval_s": "Heartbeat every (s)",
            "command_poll_interval_s": "Look for commands every (s)",
            "update_interval_s": "Look for updates every (s)",
            "update_enabled": "Updates",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "member_of" in self.fields:
            field: Any = self.fields["member_of"]
            field.queryset = self.group_choices
            self.initial["member_of"] = list(self.instance.groups.values_list("pk", flat=True))


class ReasonForm(forms.Form):
    """Why; the log keeps it."""

    reason = forms.CharField(
        max_length=limits.LINE_CHARS,
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Appears in the device's history and in the audit log.",
    )


class StatusForm(forms.Form):
    """The health a device is shown with, whatever it reports."""

    status = forms.ChoiceField(
        label="Show as",
        choices=[("", "What the device reports"), *Device.Health.choices],
        required=False,
        widget=UnfoldAdminSelectWidget(),
    )
    reason = forms.CharField(
        max_length=limits.LINE_CHARS, required=False, widget=UnfoldAdminTextInputWidget()
    )
    hours = forms.IntegerField(
        label="For hours",
        min_value=1,
        max_value=HOURS_MAX,
        required=False,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Empty: until it is lifted.",
    )


class TagForm(forms.Form):
    """Tags to add to and to take from many devices."""

    add = TagsField(required=False, help_text="Parted by commas.")
    remove = TagsField(required=False, help_text="Parted by commas.")

    def clean(self) -> dict[str, Any]:
        """Something must be asked for."""
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors and not cleaned.get("add") and not cleaned.get("remove"):
            raise forms.ValidationError("Name at least one tag to add or to remove.")
        return cleaned

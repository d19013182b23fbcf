"""What people enter on the console's own pages."""

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from common import limits
from devices.models import DeviceGroup

TTL_CHOICES = [
    (3_600, "1 hour"),
    (86_400, "1 day"),
    (7 * 86_400, "7 days"),
    (30 * 86_400, "30 days"),
]


class EnrollForm(forms.Form):
    """An enrolment token to make."""

    name = forms.CharField(
        max_length=limits.NAME_CHARS,
        initial="New device",
        widget=UnfoldAdminTextInputWidget(),
        help_text="Tells tokens apart; devices remember it.",
    )
    uses = forms.IntegerField(
        label="How many devices",
        min_value=1,
        max_value=limits.ENROLLMENT_USES_MAX,
        initial=1,
        widget=UnfoldAdminIntegerFieldWidget(),
    )
    ttl = forms.TypedChoiceField(
        label="Usable for",
        choices=TTL_CHOICES,
        coerce=int,
        initial=limits.ENROLLMENT_TTL_S,
        widget=UnfoldAdminSelectWidget(),
    )
    group = forms.ModelChoiceField(
        label="Into the group",
        queryset=DeviceGroup.objects.none(),
        required=False,
        empty_label="None",
        widget=UnfoldAdminSelectWidget(),
    )

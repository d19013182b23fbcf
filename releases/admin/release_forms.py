"""What people enter about a release."""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from common import limits
from devices.admin.forms import TagsField
from releases.models import Release


class ReleaseForm(forms.ModelForm):
    """A release while it can be changed."""

    roles = TagsField(
        required=False, help_text="Parted by commas. Empty: for devices of every role."
    )
    feature_flags = forms.JSONField(
        required=False,
        initial=dict,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="A JSON object; devices find it in the signed manifest.",
    )

    class Meta:
        model = Release
        fields = (
            *("version", "commit", "channel", "roles", "changelog"),
            *("required_migration", "feature_flags"),
        )
        widgets = {
            "commit": UnfoldAdminTextInputWidget(attrs={"placeholder": "git rev-parse HEAD"}),
        }

    def clean_feature_flags(self) -> Any:
        """Take an object with few names."""
        flags = self.cleaned_data["feature_flags"] or {}
        if not isinstance(flags, dict) or len(flags) > limits.RELEASE_FLAGS:
            raise forms.ValidationError(f"A JSON object of at most {limits.RELEASE_FLAGS} names.")
        return flags


class UploadForm(forms.Form):
    """The bundle of one role."""

    role = forms.CharField(required=False, max_length=limits.SHORT_CHARS)
    file = forms.FileField()

    def clean_file(self) -> Any:
        """Refuse what is larger than any bundle."""
        file = self.cleaned_data["file"]
        if file.size > limits.ARTIFACT_BYTES:
            raise forms.ValidationError(f"A bundle has at most {limits.ARTIFACT_BYTES} bytes.")
        return file

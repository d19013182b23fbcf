"""Filters every list shares."""

from datetime import UTC, datetime
from typing import Any

from django import forms
from django_filters import rest_framework as filters
from django_filters.fields import IsoDateTimeField


class MomentField(IsoDateTimeField):
    """A moment (RFC 3339), taken to UTC: the database refuses offsets beyond 15:59."""

    def to_python(self, value: Any) -> datetime | None:
        """Return the moment in UTC, or refuse one that no calendar holds there."""
        moment: datetime | None = super().to_python(value)
        if moment is None:
            return None
        try:
            return moment.astimezone(UTC)
        except OverflowError:
            raise forms.ValidationError("This moment is outside the calendar.") from None


class MomentFilter(filters.IsoDateTimeFilter):
    """Rows from a moment on, or up to it."""

    field_class = MomentField

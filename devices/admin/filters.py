"""How the list of devices is narrowed."""

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import DropdownFilter, TextFilter

from accounts.admin_lists import ChoiceFilter
from accounts.admin_requests import principal_of
from common import limits
from devices.models import Device, DeviceGroup

Choices = list[tuple[str, str]]
Rows = QuerySet[Device]


class HealthFilter(DropdownFilter):
    title = "health"
    parameter_name = "health"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(value, str(label)) for value, label in Device.Health.choices]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        return queryset.filter(state__health=self.value()) if self.value() else queryset


class LifecycleFilter(DropdownFilter):
    """Retired devices appear only when asked for."""

    title = "lifecycle"
    parameter_name = "lifecycle"
    all_option = ("", "Present (not retired)")

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        states = [(value, str(label)) for value, label in Device.Lifecycle.choices]
        return [*states, ("all", "All, with retired")]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        if not self.value():
            return queryset.exclude(lifecycle=Device.Lifecycle.RETIRED)
        return queryset if self.value() == "all" else queryset.filter(lifecycle=self.value())


class RoleFilter(DropdownFilter):
    title = "role"
    parameter_name = "role"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        visible = Device.objects.visible_to(principal_of(request)).exclude(role="")
        roles = visible.order_by("role").values_list("role", flat=True).distinct()
        return [(role, role) for role in roles[: limits.PAGE_SIZE_MAX]]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        return queryset.filter(role=self.value()) if self.value() else queryset


class SegmentFilter(ChoiceFilter):
    title = "segment"
    parameter_name = "segment"


class GroupFilter(DropdownFilter):
    title = "group"
    parameter_name = "group"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        groups = DeviceGroup.objects.visible_to(principal_of(request)).order_by("name")
        return [(str(group.pk), group.name) for group in groups[: limits.PAGE_SIZE_MAX]]

    def has_output(self) -> bool:
        """Stay in force without a group to offer: an address with a group's id shows nothing."""
        return True

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        # Only groups that were offered count: a foreign id and an absent one match nothing.
        if not self.value():
            return queryset
        known = {value for value, _label in self.lookup_choices}
        if self.value() not in known:
            return queryset.none()
        return queryset.filter(group_members__group_id=self.value())


class VersionFilter(TextFilter):
    title = "version"
    parameter_name = "version"

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        return queryset.filter(state__version=self.value()) if self.value() else queryset


class TagFilter(TextFilter):
    title = "tag"
    parameter_name = "tag"

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        return queryset.filter(tags__contains=[self.value()]) if self.value() else queryset


class MaintenanceFilter(DropdownFilter):
    title = "maintenance"
    parameter_name = "maintenance"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("yes", "In maintenance"), ("no", "Not in maintenance")]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        if self.value() not in {"yes", "no"}:
            return queryset
        return queryset.filter(maintenance_mode=self.value() == "yes")


class SafeModeFilter(DropdownFilter):
    title = "safe mode"
    parameter_name = "safe_mode"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("yes", "In safe mode"), ("no", "Not in safe mode")]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        if self.value() not in {"yes", "no"}:
            return queryset
        return queryset.filter(safe_mode=self.value() == "yes")


class LastSeenFilter(DropdownFilter):
    title = "last seen"
    parameter_name = "seen"

    _within = {"5m": timedelta(minutes=5), "1h": timedelta(hours=1), "1d": timedelta(days=1)}
    _before = {"over1d": timedelta(days=1), "over7d": timedelta(days=7)}

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [
            ("5m", "Within 5 minutes"),
            ("1h", "Within an hour"),
            ("1d", "Within a day"),
            ("over1d", "Longer ago than a day"),
            ("over7d", "Longer ago than a week"),
            ("never", "Never"),
        ]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        value, now = self.value() or "", timezone.now()
        if value == "never":
            return queryset.filter(state__last_seen=None)
        if value in self._within:
            return queryset.filter(state__last_seen__gte=now - self._within[value])
        if value in self._before:
            return queryset.filter(state__last_seen__lt=now - self._before[value])
        return queryset

"""What happened to devices."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from unfold.contrib.filters.admin import AutocompleteSelectFilter, TextFilter
from unfold.decorators import display

from accounts.admin_lists import BoundedPaginator, MomentsFilter
from accounts.admin_requests import principal_of
from accounts.admin_site import TenantModelAdmin
from accounts.policy import Action
from common import markup
from devices.models import Device, DeviceEvent


class KindFilter(TextFilter):
    title = "kind"
    parameter_name = "kind"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


@admin.register(DeviceEvent)
class DeviceEventAdmin(TenantModelAdmin):
    """The history of all devices; read only."""

    rights: ClassVar[dict[str, Action]] = {"view": Action.DEVICE_READ}
    paginator = BoundedPaginator
    list_display = ["at_moment", "severity_badge", "device_link", "kind", "message"]
    list_filter = [
        ("device", AutocompleteSelectFilter),
        "severity",
        KindFilter,
        ("at", MomentsFilter),
    ]
    list_select_related = ["device"]
    search_fields = ["message", "device__device_id"]
    ordering = ["-id"]
    fields = ["at", "device", "severity", "kind", "message", "details"]
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeviceEvent]:
        """Events of devices the person sees."""
        events = super().get_queryset(request)
        principal = principal_of(request)
        if principal.limited:
            events = events.filter(device__in=Device.objects.visible_to(principal))
        return events

    @display(description="When", ordering="at")
    def at_moment(self, row: DeviceEvent) -> str:
        return markup.moment(row.at)

    @display(description="Severity", ordering="severity")
    def severity_badge(self, row: DeviceEvent) -> str:
        return markup.badge(f"severity-{row.severity}", row.severity)

    @display(description="Device", ordering="device__device_id")
    def device_link(self, row: DeviceEvent) -> str:
        return markup.link(reverse("console:device", args=[row.device_id]), row.device.device_id)

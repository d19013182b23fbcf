"""Devices whose files are not what was deployed; read only."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import display

from accounts.admin_lists import BoundedPaginator
from accounts.admin_site import TenantModelAdmin
from accounts.policy import Action
from common import markup
from devices.models import DriftReport


class OpenFilter(DropdownFilter):
    """Drift that is gone appears only when asked for."""

    title = "state"
    parameter_name = "state"
    all_option = ("", "Open")

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("resolved", "Resolved"), ("all", "All")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[DriftReport]
    ) -> QuerySet[DriftReport]:
        if self.value() == "all":
            return queryset
        return queryset.filter(resolved_at__isnull=self.value() != "resolved")


@admin.register(DriftReport)
class DriftReportAdmin(TenantModelAdmin):
    """Devices whose files are not what their release says."""

    rights: ClassVar[dict[str, Action]] = {"view": Action.DRIFT_READ}
    paginator = BoundedPaginator
    list_display = ["device_link", "release", "count", "since", "last", "repair_note"]
    list_filter = [OpenFilter]
    list_select_related = ["device"]
    list_display_links = None
    search_fields = ["device__device_id", "release"]
    ordering = ["-id"]
    fields = ["device", "release", "count", "items", "first_at", "last_at", "resolved_at"]
    readonly_fields = fields

    @display(description="Device", ordering="device__device_id")
    def device_link(self, row: DriftReport) -> str:
        address = reverse("console:device-updates", args=[row.device_id])
        return markup.link(address, row.device.device_id)

    @display(description="Since", ordering="first_at")
    def since(self, row: DriftReport) -> str:
        return markup.moment(row.first_at)

    @display(description="Last reported", ordering="last_at")
    def last(self, row: DriftReport) -> str:
        return markup.moment(row.last_at)

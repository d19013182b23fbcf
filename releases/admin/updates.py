"""The list of what became of releases on devices; read only."""

from typing import ClassVar

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display

from accounts.admin_lists import BoundedPaginator, ChoiceFilter, MomentsFilter
from accounts.admin_site import TenantModelAdmin
from accounts.policy import Action
from common import markup
from releases.models import DeviceUpdate


class StatusFilter(ChoiceFilter):
    title = "status"
    parameter_name = "status"


class FailureFilter(ChoiceFilter):
    title = "failure"
    parameter_name = "failure"
    column = "failure_class"


@admin.register(DeviceUpdate)
class DeviceUpdateAdmin(TenantModelAdmin):
    """Every try to bring a device to a release."""

    rights: ClassVar[dict[str, Action]] = {"view": Action.UPDATE_READ}
    paginator = BoundedPaginator
    list_display = ["device_link", "way", "status_badge", "kind", "what", "when"]
    list_filter = [
        StatusFilter,
        FailureFilter,
        ("rollout", AutocompleteSelectFilter),
        ("scheduled_at", MomentsFilter),
    ]
    list_select_related = ["device"]
    list_display_links = None
    search_fields = ["device__device_id", "to_version"]
    search_help_text = "Device id or version"
    ordering = ["-id"]
    fields = [
        *("device", "release", "rollout", "kind", "from_version", "to_version", "status"),
        *("failure_class", "error_code", "error", "health_check_passed", "timings"),
        *("scheduled_at", "offered_at", "started_at", "claimed_at", "finished_at"),
    ]
    readonly_fields = fields

    @display(description="Device", ordering="device__device_id")
    def device_link(self, row: DeviceUpdate) -> str:
        address = reverse("console:device-updates", args=[row.device_id])
        return markup.link(address, row.device.device_id)

    @display(description="Way", ordering="to_version")
    def way(self, row: DeviceUpdate) -> str:
        return format_html('<span class="fp-number">{}</span>', str(row))

    @display(description="Status", ordering="status")
    def status_badge(self, row: DeviceUpdate) -> str:
        if row.failure_class == DeviceUpdate.FailureClass.FALSE_SUCCESS:
            return markup.badge("failed", "false success")
        return markup.badge(row.status, row.get_status_display())

    @display(description="What went wrong")
    def what(self, row: DeviceUpdate) -> str:
        words = row.error or row.failure_class or row.step
        return format_html('<span class="fp-summary">{}</span>', words[:160] or markup.NOTHING)

    @display(description="Begun", ordering="scheduled_at")
    def when(self, row: DeviceUpdate) -> str:
        return markup.moment(row.scheduled_at)

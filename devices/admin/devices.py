"""The list of devices, their settings form and their export."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from import_export.admin import ExportMixin
from import_export.formats.base_formats import CSV, XLSX
from unfold.contrib.import_export.forms import ExportForm
from unfold.decorators import display
from unfold.views import ChangeList

from accounts.admin_lists import PortalChangeList
from accounts.admin_requests import principal_of
from accounts.policy import Action
from audit import services as audit
from common import clock, limits, markup
from devices.admin import filters
from devices.admin.bulk import DeviceVerbs
from devices.admin.export import DeviceResource
from devices.admin.forms import DeviceForm
from devices.admin.head import device_head
from devices.models import Device, DeviceGroup
from devices.services import registry


class DeviceList(PortalChangeList):
    """Leads to the page of a device rather than to its settings."""

    def url_for_result(self, result: Device) -> str:
        return reverse("console:device", args=[result.pk])


@admin.register(Device)
class DeviceAdmin(ExportMixin, DeviceVerbs):
    """Every machine of the organisation."""

    rights: ClassVar[dict[str, Action]] = {
        "view": Action.DEVICE_READ,
        "change": Action.DEVICE_UPDATE,
        "accept": Action.DEVICE_ACCEPT,
        "retire": Action.DEVICE_RETIRE,
        "command": Action.COMMAND_CREATE,
        "groups": Action.GROUP_MANAGE,
        "enroll": Action.ENROLLMENT_TOKEN_MANAGE,
    }
    form = DeviceForm
    change_form_template = "admin/devices/device/change_form.html"
    list_display = [
        "device",
        "health",
        "lifecycle_badge",
        "role",
        "segment",
        "version",
        "seen",
        "load",
        "labels",
    ]
    list_filter = [
        filters.HealthFilter,
        filters.LifecycleFilter,
        filters.RoleFilter,
        filters.SegmentFilter,
        filters.GroupFilter,
        filters.VersionFilter,
        filters.TagFilter,
        filters.MaintenanceFilter,
        filters.SafeModeFilter,
        filters.LastSeenFilter,
    ]
    list_select_related = ["state"]
    search_fields = ["device_id", "name", "hostname", "ip_address", "serial", "site", "owner"]
    search_help_text = "Device id, name, host name, IP address, serial, site, owner"
    ordering = ["device_id"]
    # A higher floor puts its own in front.
    actions: ClassVar[list[Any]] = [
        "tag_selected",
        "maintenance_on",
        "maintenance_off",
        "accept_selected",
        "reject_selected",
        "retire_selected",
    ]
    import_export_change_list_template = "admin/devices/device/change_list_export.html"
    resource_classes = [DeviceResource]
    export_form_class = ExportForm
    formats = [CSV, XLSX]

    @display(description="Device", ordering="device_id")
    def device(self, row: Device) -> str:
        second = row.name if row.name and row.name != row.device_id else row.hostname
        flag = markup.badge("maintenance") if row.maintenance_mode else ""
        return format_html(
            '<span class="fp-two"><b>{}</b> {}<small>{}</small></span>', row.device_id, flag, second
        )

    @display(description="Health", ordering="state__health")
    def health(self, row: Device) -> str:
        return markup.badge(row.state.health)

    @display(description="Lifecycle", ordering="lifecycle")
    def lifecycle_badge(self, row: Device) -> str:
        return markup.badge(row.lifecycle)

    @display(description="Version", ordering="state__version")
    def version(self, row: Device) -> str:
        return row.state.version or markup.NOTHING

    @display(description="Last seen", ordering="state__last_seen")
    def seen(self, row: Device) -> str:
        return markup.moment(row.state.last_seen, nothing="never")

    @display(description="CPU · memory")
    def load(self, row: Device) -> str:
        parts = [row.state.cpu_percent, row.state.mem_percent]
        if parts == [None, None]:
            return markup.NOTHING
        words = [markup.NOTHING if part is None else f"{part:.0f} %" for part in parts]
        return format_html('<span class="fp-number">{}</span>', " · ".join(words))

    @display(description="Tags")
    def labels(self, row: Device) -> str:
        if not row.tags:
            return markup.NOTHING
        return format_html_join(" ", '<span class="fp-tag">{}</span>', ((tag,) for tag in row.tags))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return DeviceList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        extra = {"may_enroll": self.holds(request, "enroll")}
        page: HttpResponse = super().changelist_view(request, {**(extra_context or {}), **extra})
        return page

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Only columns an operator decides on; groups for those who manage them."""
        place = ["name", ("role", "branch"), ("segment", "hardware_profile"), "tags"]
        if self._may_group(request):
            place.append("member_of")
        return [
            ("Place in the fleet", {"fields": place}),
            ("Where it is", {"fields": [("site", "owner"), ("latitude", "longitude"), "serial"]}),
            (
                "Updates",
                {
                    "fields": [
                        ("maintenance_mode", "update_enabled"),
                        ("version_lock", "version_lock_reason"),
                        "version_lock_expires_at",
                    ]
                },
            ),
            (
                "Pace",
                {
                    "fields": [
                        ("heartbeat_interval_s", "command_poll_interval_s"),
                        "update_interval_s",
                    ]
                },
            ),
            ("Notes for programs", {"fields": ["metadata"]}),
        ]

    def _may_group(self, request: HttpRequest) -> bool:
        # The whole set is written, so whoever writes it has to see all of it.
        return self.holds(request, "groups") and not principal_of(request).limited

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        form.group_choices = DeviceGroup.objects.visible_to(principal_of(request)).order_by("name")
        return form

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Put the head of the device's pages above the form."""
        device = context.get("original")
        if device is not None:
            head = device_head(principal_of(request), device, "settings")
            context |= {name: value for name, value in head.items() if name not in context}
        return super().render_change_form(request, context, *args, **kwargs)

    def service_update(self, request: HttpRequest, obj: Device, changes: dict[str, Any]) -> None:
        groups = changes.pop("member_of", None)
        if groups is not None and not self._may_group(request):
            raise PermissionDenied
        kept = Device.objects.select_related("organization").get(pk=obj.pk)
        registry.device_update(
            device=kept,
            changes=changes,
            groups=None if groups is None else list(groups),
            actor=principal_of(request),
            now=clock.now(),
        )

    def response_post_save_change(self, request: HttpRequest, obj: Device) -> HttpResponse:
        return redirect("console:device", obj.pk)

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self.holds(request, "view")

    def export_action(self, request: HttpRequest) -> HttpResponse:
        """Offer the formats, or hand out the file; a list that is too long is refused."""
        most = limits.EXPORT_ROWS_XLSX
        changelist = redirect("admin:devices_device_changelist")
        try:
            found = self.get_export_queryset(request)
        except IncorrectLookupParameters:
            return changelist
        if found[: most + 1].count() > most:
            sentence = f"An export holds at most {most} devices. Narrow the list by a filter first."
            self.message_user(request, sentence, messages.ERROR)
            return changelist
        answer: HttpResponse = super().export_action(request)
        return answer

    def get_export_queryset(self, request: HttpRequest) -> QuerySet[Device]:
        rows: QuerySet[Device] = super().get_export_queryset(request).select_related("state")
        return rows

    def get_export_data(
        self, file_format: Any, request: HttpRequest, queryset: QuerySet[Device], **kwargs: Any
    ) -> Any:
        """Make the file, and note who took it with which filters."""
        data = super().get_export_data(file_format, request, queryset, **kwargs)
        principal = principal_of(request)
        audit.record(
            actor=principal,
            organization=principal.organization,
            action="device.export",
            after={"format": file_format.get_extension(), "filters": request.GET.dict()},
        )
        return data

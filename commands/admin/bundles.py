"""Support bundles: listed and downloaded."""

from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.defaultfilters import filesizeformat
from django.urls import path, reverse
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display

from accounts.admin_lists import BoundedPaginator
from accounts.admin_requests import principal_of
from accounts.admin_site import TenantModelAdmin
from accounts.policy import Action
from commands.bundles.answers import archive_response
from commands.bundles.reading import bundle_read
from commands.errors import BundleNotReady
from commands.models import SupportBundle
from common import markup


@admin.register(SupportBundle)
class SupportBundleAdmin(TenantModelAdmin):
    """Archives that devices sent."""

    rights: ClassVar[dict[str, Action]] = {"view": Action.BUNDLE_READ}
    paginator = BoundedPaginator
    list_display = [
        "made",
        "status_badge",
        "device_link",
        "found",
        "weight",
        "command_link",
        "download",
    ]
    list_filter = [("device", AutocompleteSelectFilter)]
    list_select_related = ["device", "command"]
    search_fields = ["device__device_id"]
    ordering = ["-id"]
    fields = [
        "device",
        "created_at",
        "status",
        "error",
        "weight",
        "sha256",
        "command",
        "expires_at",
    ]
    readonly_fields = fields

    @display(description="Device", ordering="device__device_id")
    def device_link(self, row: SupportBundle) -> str:
        return markup.link(reverse("console:device", args=[row.device_id]), row.device.device_id)

    @display(description="Received", ordering="created_at")
    def made(self, row: SupportBundle) -> str:
        return markup.link(reverse("console:bundle", args=[row.pk]), markup.moment(row.created_at))

    @display(description="Status", ordering="status")
    def status_badge(self, row: SupportBundle) -> str:
        return markup.badge(row.status)

    @display(description="Findings")
    def found(self, row: SupportBundle) -> str:
        return (
            str(len(row.findings)) if row.status == SupportBundle.Status.READY else markup.NOTHING
        )

    @display(description="Size", ordering="size")
    def weight(self, row: SupportBundle) -> str:
        return filesizeformat(row.kept_size or row.size)

    @display(description="Command")
    def command_link(self, row: SupportBundle) -> str:
        url = reverse("admin:commands_command_change", args=[row.command_id])
        return markup.link(url, "Show")

    @display(description="Archive")
    def download(self, row: SupportBundle) -> str:
        if row.status != SupportBundle.Status.READY:
            return markup.NOTHING
        url = reverse("admin:commands_supportbundle_download", args=[row.pk])
        return markup.link(url, "Download")

    def get_urls(self) -> list[Any]:
        return [
            path(
                "<uuid:pk>/download/",
                self.admin_site.admin_view(self.download_view),
                name="commands_supportbundle_download",
            ),
            *super().get_urls(),
        ]

    def download_view(self, request: HttpRequest, pk: object) -> HttpResponseBase:
        """Hand out the archive; reading it is written to the log."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        bundle = self.get_object(request, str(pk))
        if bundle is None:
            return self.absent(request, pk)
        try:
            content = bundle_read(bundle=bundle, actor=principal_of(request))
        except FileNotFoundError:
            return HttpResponse("The archive is no longer stored.", status=410)
        except BundleNotReady as refusal:
            return HttpResponse(refusal.message, status=409, content_type="text/plain")
        return archive_response(bundle, content)

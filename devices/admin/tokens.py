"""Enrolment tokens: listed and revoked here, made on the page “Add a device”."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from unfold.decorators import display

from accounts.admin_requests import principal_of
from accounts.admin_site import TenantModelAdmin
from accounts.policy import Action
from common import clock, limits, markup
from devices.models import EnrollmentToken
from devices.services import enrollment


@admin.register(EnrollmentToken)
class EnrollmentTokenAdmin(TenantModelAdmin):
    """What lets new devices in."""

    rights: ClassVar[dict[str, Action]] = {
        "view": Action.ENROLLMENT_TOKEN_MANAGE,
        "add": Action.ENROLLMENT_TOKEN_MANAGE,
        "revoke": Action.ENROLLMENT_TOKEN_MANAGE,
    }
    list_display = ["name", "prefix", "state", "used", "group", "ends", "created_by", "made"]
    list_filter = ["group"]
    list_select_related = ["group", "organization"]
    search_fields = ["name", "prefix", "created_by"]
    ordering = ["-created_at"]
    actions = ["revoke_selected"]
    fields = ["name", "prefix", "state", "used", "group", "ends", "created_by", "made"]
    readonly_fields = fields

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return self.holds(request, "revoke")

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Tokens are made where their secret is put to use."""
        return redirect("console:add-device")

    @display(description="State")
    def state(self, row: EnrollmentToken) -> str:
        if row.revoked_at:
            return markup.badge("revoked")
        if row.expires_at <= timezone.now():
            return markup.badge("expired")
        return (
            markup.badge("used-up", "used up")
            if row.uses >= row.max_uses
            else markup.badge("usable")
        )

    @display(description="Uses", ordering="uses")
    def used(self, row: EnrollmentToken) -> str:
        return f"{row.uses} of {row.max_uses}"

    @display(description="Expires", ordering="expires_at")
    def ends(self, row: EnrollmentToken) -> str:
        return markup.moment(row.expires_at)

    @display(description="Issued", ordering="created_at")
    def made(self, row: EnrollmentToken) -> str:
        return markup.moment(row.created_at)

    @admin.action(permissions=["revoke"], description="Revoke")
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[EnrollmentToken]) -> None:
        """End the selected tokens at once; devices that came in with them stay."""
        principal, now = principal_of(request), clock.now()
        for token in queryset[: limits.PAGE_SIZE_MAX]:
            enrollment.enrollment_token_revoke(token=token, actor=principal, now=now)
        self.message_user(request, "The selected tokens let nobody in any more.", messages.SUCCESS)

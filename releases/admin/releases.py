"""The list of releases and the page of one."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.html import format_html, format_html_join
from unfold.decorators import display

from accounts.admin_lists import BoundedPaginator, ChoiceFilter
from accounts.admin_pages import PageAdmin
from accounts.admin_requests import principal_of
from accounts.policy import Action
from accounts.principals import Principal
from common import clock, markup
from common.errors import DomainError
from releases.admin.release_forms import ReleaseForm, UploadForm
from releases.admin.release_page import VERBS, release_context
from releases.models import Release
from releases.services.publishing import release_publish, release_withdraw
from releases.services.releases import release_create, release_delete, release_update
from releases.services.uploads import artifact_store
from releases.services.validating import release_validate


class StateFilter(ChoiceFilter):
    title = "state"
    parameter_name = "state"


@admin.register(Release)
class ReleaseAdmin(PageAdmin):
    """What can run on devices."""

    rights: ClassVar[dict[str, Action]] = {
        "view": Action.RELEASE_READ,
        "add": Action.RELEASE_MANAGE,
        "change": Action.RELEASE_MANAGE,
    }
    form = ReleaseForm
    verbs = VERBS
    page_template = "admin/releases/release/page.html"
    paginator = BoundedPaginator
    list_display = ["title", "state_badge", "for_roles", "channel", "made", "created_by"]
    list_filter = [StateFilter, "channel"]
    search_fields = ["version", "commit", "changelog"]
    search_help_text = "Version, commit, changes"
    ordering = ["-id"]

    def has_change_permission(self, request: HttpRequest, obj: Release | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or obj.is_changeable)

    def get_readonly_fields(self, request: HttpRequest, obj: Release | None = None) -> list[str]:
        """A release keeps its version and its commit."""
        return ["version", "commit"] if obj else []

    @display(description="Release", ordering="version")
    def title(self, row: Release) -> str:
        return format_html(
            '<span class="fp-two"><b>{}</b><small class="fp-code">{}</small></span>',
            row.version,
            row.commit[:12],
        )

    @display(description="State", ordering="state")
    def state_badge(self, row: Release) -> str:
        return markup.badge(row.state)

    @display(description="For")
    def for_roles(self, row: Release) -> str:
        if not row.roles:
            return "every role"
        return format_html_join(" ", '<span class="fp-tag">{}</span>', ((r,) for r in row.roles))

    @display(description="Made", ordering="created_at")
    def made(self, row: Release) -> str:
        return markup.moment(row.created_at)

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        name = "releases_release"
        return [
            path("<uuid:pk>/upload/", wrap(self.upload_view), name=f"{name}_upload"),
            path("<path:object_id>/edit/", wrap(self.edit_view), name=f"{name}_edit"),
            *super().get_urls(),
        ]

    def service_create(self, request: HttpRequest, obj: Release, entered: dict[str, Any]) -> Any:
        principal = principal_of(request)
        return release_create(
            organization=principal.acting_organization(),
            values=entered,
            actor=principal,
            now=clock.now(),
        )

    def service_update(self, request: HttpRequest, obj: Release, changes: dict[str, Any]) -> None:
        # The form has written the new values into `obj`; the service compares with the row.
        release_update(
            release=self.get_queryset(request).get(pk=obj.pk),
            changes=changes,
            actor=principal_of(request),
        )

    def response_post_save_change(self, request: HttpRequest, obj: Release) -> HttpResponse:
        return self.to_page(obj)

    def response_post_save_add(self, request: HttpRequest, obj: Release) -> HttpResponse:
        return self.to_page(obj)

    def edit_view(self, request: HttpRequest, object_id: str) -> Any:
        """Change what can still be changed."""
        return self.changeform_view(request, object_id)

    def page_context(self, row: Release, principal: Principal) -> dict[str, Any]:
        return release_context(row, principal)

    def act(self, verb: str, row: Release, principal: Principal, entered: dict[str, Any]) -> None:
        now = clock.now()
        match verb:
            case "validate":
                found = release_validate(release=row, actor=principal, now=now)
                if found.state != Release.State.VALIDATED:
                    raise DomainError("Validation found errors; they are listed below.")
            case "publish":
                release_publish(release=row, actor=principal, now=now)
            case "delete":
                release_delete(release=row, actor=principal)
            case "withdraw":
                if not entered["reason"]:
                    raise DomainError("Say why it is withdrawn.")
                release_withdraw(release=row, reason=entered["reason"], actor=principal, now=now)

    def upload_view(self, request: HttpRequest, pk: object) -> HttpResponse:
        """Take the bundle of a role."""
        release = self.visible_row(request, pk)
        if release is None:
            return self.absent(request, pk)
        principal = principal_of(request)
        if request.method != "POST" or not self.has_change_permission(request, release):
            raise PermissionDenied
        form = UploadForm(request.POST, request.FILES)
        if not form.is_valid():
            fault = next(iter(form.errors.values()))[0]
            self.message_user(request, str(fault), messages.ERROR)
            return self.to_page(release)
        try:
            artifact_store(
                release=release,
                role=form.cleaned_data["role"],
                content=form.cleaned_data["file"],
                sha256="",
                actor=principal,
                now=clock.now(),
            )
            self.message_user(request, "The bundle is stored. Validate it next.", messages.SUCCESS)
        except DomainError as refusal:
            self.message_user(request, refusal.message, messages.ERROR)
        return self.to_page(release)

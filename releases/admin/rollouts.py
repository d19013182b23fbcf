"""The list of rollouts and the page of one."""

from collections import Counter
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import MultipleDropdownFilter
from unfold.decorators import display
from unfold.views import ChangeList

from accounts.admin_lists import BoundedPaginator, MomentsFilter, PortalChangeList
from accounts.admin_requests import principal_of
from accounts.admin_site import TenantModelAdmin
from accounts.policy import Action
from common import clock, markup
from common.errors import DomainError
from releases.admin.rollout_acts import ActForm, act
from releases.admin.rollout_new import live_count_view, new_view
from releases.admin.rollout_page import VERBS, parts, rollout_context
from releases.models import ENDED, Rollout
from releases.selectors.progress import LEFT_OUT, counts_of


class StatusFilter(MultipleDropdownFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in Rollout.Status.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Rollout]) -> QuerySet[Rollout]:
        wanted = [word for word in request.GET.getlist("status") if word]
        return queryset.filter(status__in=wanted) if wanted else queryset


class RolloutList(PortalChangeList):
    """Counts the targets of the rollouts of a page at once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        counts = counts_of(self.result_list)
        for rollout in self.result_list:
            rollout.counts = counts.get(rollout.pk, Counter())


def bar(counts: Counter[str]) -> SafeString:
    """Return counts by state as one bar of coloured parts."""
    spans = format_html_join(
        "", '<span class="fp-is-{}" style="flex: {}" title="{}"></span>', parts(counts)
    )
    return format_html('<span class="fp-bar">{}</span>', spans)


@admin.register(Rollout)
class RolloutAdmin(TenantModelAdmin):
    """One plan to bring one release to many devices."""

    rights: ClassVar[dict[str, Action]] = {
        "view": Action.ROLLOUT_READ,
        "add": Action.ROLLOUT_MANAGE,
    }
    paginator = BoundedPaginator
    list_display = ["title", "status_badge", "version", "progress", "made", "created_by"]
    list_filter = [StatusFilter, ("created_at", MomentsFilter)]
    list_select_related = ["release"]
    search_fields = ["name", "release__version", "created_by"]
    search_help_text = "Name, version, or who made it"
    ordering = ["-id"]

    @display(description="Rollout", ordering="name")
    def title(self, row: Rollout) -> str:
        return format_html('<span class="fp-two"><b>{}</b></span>', row.name)

    @display(description="Status", ordering="status")
    def status_badge(self, row: Rollout) -> str:
        return markup.badge(row.status, row.get_status_display())

    @display(description="Release", ordering="release__version")
    def version(self, row: Rollout) -> str:
        return row.release.version

    @display(description="Progress")
    def progress(self, row: Rollout) -> str:
        counts: Counter[str] = row.counts.copy()  # type: ignore[attr-defined]
        ended = sum(counts[state] for state in ENDED)
        total = counts.total() - counts[LEFT_OUT]
        return format_html(
            '<span class="fp-progress">{}<small>{} of {}</small></span>', bar(counts), ended, total
        )

    @display(description="Made", ordering="created_at")
    def made(self, row: Rollout) -> str:
        return markup.moment(row.created_at)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RolloutList

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        name = "releases_rollout"
        return [
            path("count/", wrap(self.count_view), name=f"{name}_count"),
            path("<uuid:pk>/live/", wrap(self.live_view), name=f"{name}_live"),
            path("<uuid:pk>/do/<slug:verb>/", wrap(self.act_view), name=f"{name}_act"),
            *super().get_urls(),
        ]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask for the release, the devices and the plan."""
        return new_view(self, request)

    def count_view(self, request: HttpRequest) -> HttpResponse:
        """Return who would take part, for the form that is being filled in."""
        return live_count_view(self, request)

    def _visible(self, request: HttpRequest, object_id: object) -> Rollout | None:
        if not self.has_view_permission(request):
            raise PermissionDenied
        found: Rollout | None = self.get_object(request, unquote(str(object_id)))
        return found

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one rollout; nothing of it is edited."""
        rollout = self._visible(request, object_id)
        if rollout is None:
            return self.absent(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            **rollout_context(rollout, principal_of(request), now=clock.now()),
            "title": rollout.name,
            "model_admin": self,
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/releases/rollout/page.html", context)

    def live_view(self, request: HttpRequest, pk: object) -> HttpResponse:
        """Return the changing part of the page."""
        rollout = self._visible(request, pk)
        if rollout is None:
            return HttpResponse(status=404)
        context = rollout_context(rollout, principal_of(request), now=clock.now())
        return TemplateResponse(request, "admin/releases/rollout/live.html", context)

    def act_view(self, request: HttpRequest, pk: object, verb: str) -> HttpResponse:
        """Do to a rollout what a button says."""
        rollout = self._visible(request, pk)
        if rollout is None:
            return self.absent(request, pk)
        principal = principal_of(request)
        known = VERBS.get(verb)
        if request.method != "POST" or known is None or not known.allowed(principal):
            raise PermissionDenied
        form = ActForm(request.POST)
        if not form.is_valid():
            fault = next(iter(form.errors.values()))[0]
            self.message_user(request, str(fault), messages.ERROR)
            return redirect("admin:releases_rollout_change", rollout.pk)
        try:
            act(verb, rollout, principal, form.cleaned_data)
            self.message_user(request, known.done, messages.SUCCESS)
        except DomainError as refusal:
            self.message_user(request, refusal.message, messages.ERROR)
        return redirect("admin:releases_rollout_change", rollout.pk)

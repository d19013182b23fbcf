"""The list of rollouts and the page of one."""

from collections import Counter
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.html import format_html
from unfold.decorators import display
from unfold.views import ChangeList

from accounts.admin_lists import BoundedPaginator, ChoicesFilter, MomentsFilter, PortalChangeList
from accounts.admin_pages import PageAdmin
from accounts.admin_requests import principal_of
from accounts.policy import Action
from accounts.principals import Principal
from common import clock, markup
from releases.admin.rollout_acts import ActForm, act
from releases.admin.rollout_devices import devices_context, simulation_context
from releases.admin.rollout_new import live_count_view, new_view
from releases.admin.rollout_page import parts, rollout_context
from releases.admin.rollout_verbs import VERBS
from releases.models import ENDED, Rollout
from releases.selectors.progress import LEFT_OUT, counts_of


class StatusFilter(ChoicesFilter):
    title = "status"
    parameter_name = "status"


class RolloutList(PortalChangeList):
    """Counts the targets of the rollouts of a page at once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        counts = counts_of(self.result_list)
        for rollout in self.result_list:
            rollout.counts = counts.get(rollout.pk, Counter())


@admin.register(Rollout)
class RolloutAdmin(PageAdmin):
    """One plan to bring one release to many devices."""

    rights: ClassVar[dict[str, Action]] = {
        "view": Action.ROLLOUT_READ,
        "add": Action.ROLLOUT_MANAGE,
    }
    verbs = VERBS
    page_template = "admin/releases/rollout/page.html"
    live_template = "admin/releases/rollout/live.html"
    act_form = ActForm
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
            '<span class="fp-progress">{}<small>{} of {}</small></span>',
            markup.bar(parts(counts)),
            ended,
            total,
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
            path("<uuid:pk>/devices/", wrap(self.devices_view), name=f"{name}_devices"),
            path("<uuid:pk>/simulation/", wrap(self.simulation_view), name=f"{name}_simulation"),
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

    def devices_view(self, request: HttpRequest, pk: object) -> HttpResponse:
        """Show who takes part and how far each device is, a page at a time."""
        rollout = self.visible_row(request, pk)
        if rollout is None:
            return self.absent(request, pk)
        context = {
            **self.admin_site.each_context(request),
            **devices_context(rollout, principal_of(request), request),
            "title": f"Devices of {rollout.name}",
            "model_admin": self,
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/releases/rollout/devices.html", context)

    def simulation_view(self, request: HttpRequest, pk: object) -> HttpResponse:
        """Return what the draft would do, as a part of its page."""
        rollout = self.visible_row(request, pk)
        if rollout is None:
            return HttpResponse(status=404)
        context = simulation_context(rollout, principal_of(request))
        return TemplateResponse(request, "admin/releases/rollout/simulation.html", context)

    def page_context(self, row: Rollout, principal: Principal) -> dict[str, Any]:
        return rollout_context(row, principal, now=clock.now())

    def act(self, verb: str, row: Rollout, principal: Principal, entered: dict[str, Any]) -> None:
        act(verb, row, principal, entered)

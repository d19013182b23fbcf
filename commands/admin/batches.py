"""The list of batches and the page of one."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.html import format_html
from unfold.decorators import display
from unfold.views import ChangeList

from accounts.admin_lists import BoundedPaginator, MomentsFilter, PortalChangeList
from accounts.admin_pages import PageAdmin
from accounts.policy import Action
from accounts.principals import Principal
from commands import services
from commands.admin.batch_forms import BatchReasonForm
from commands.admin.batch_new import new_view, preview_view
from commands.admin.batch_page import VERBS, batch_context, parts
from commands.admin.commands import KindFilter, StatusFilter
from commands.models import ENDED, CommandBatch
from commands.services.batch_progress import WAITING, counts_of
from common import clock, markup


class BatchList(PortalChangeList):
    """Counts the commands of the batches of a page at once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        counts = counts_of(self.result_list)
        for batch in self.result_list:
            batch.counts = counts.get(batch.pk, Counter())


@admin.register(CommandBatch)
class CommandBatchAdmin(PageAdmin):
    """One order to many devices."""

    rights: ClassVar[dict[str, Action]] = {
        "view": Action.COMMAND_READ,
        "add": Action.COMMAND_CREATE,
    }
    verbs = VERBS
    page_template = "admin/commands/commandbatch/page.html"
    live_template = "admin/commands/commandbatch/live.html"
    act_form = BatchReasonForm
    paginator = BoundedPaginator
    list_display = ["title", "status_badge", "progress", "devices", "kind", "made", "created_by"]
    list_filter = [StatusFilter, KindFilter, ("created_at", MomentsFilter)]
    list_select_related = ["organization"]
    search_fields = ["name", "created_by"]
    search_help_text = "Name, or who made it"
    ordering = ["-id"]

    @display(description="Batch", ordering="name")
    def title(self, row: CommandBatch) -> str:
        return format_html('<span class="fp-two"><b>{}</b></span>', row.name)

    @display(description="Status", ordering="status")
    def status_badge(self, row: CommandBatch) -> str:
        return markup.badge(row.status, row.get_status_display())

    @display(description="Progress")
    def progress(self, row: CommandBatch) -> str:
        counts: Counter[str] = row.counts.copy()  # type: ignore[attr-defined]
        ended = sum(counts[status] for status in ENDED)
        total = max(row.total, counts.total())
        counts[WAITING] = 0 if row.is_over else total - counts.total()
        return format_html(
            '<span class="fp-progress">{}<small>{} of {}</small></span>',
            markup.bar(parts(counts)),
            ended,
            total,
        )

    @display(description="Devices")
    def devices(self, row: CommandBatch) -> str:
        return str(row.total or markup.NOTHING)

    @display(description="Made", ordering="created_at")
    def made(self, row: CommandBatch) -> str:
        return markup.moment(row.created_at)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BatchList

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        name = "commands_commandbatch_preview"
        return [
            path("preview/", wrap(partial(preview_view, self)), name=name),
            *super().get_urls(),
        ]

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Ask for the devices, the command and the plan."""
        return new_view(self, request)

    def page_context(self, row: CommandBatch, principal: Principal) -> dict[str, Any]:
        return batch_context(row, principal, now=clock.now())

    def act(
        self, verb: str, row: CommandBatch, principal: Principal, entered: dict[str, Any]
    ) -> CommandBatch:
        return _DO[verb](row, principal, entered)


Doing = Callable[[CommandBatch, Principal, dict[str, Any]], CommandBatch]

_DO: dict[str, Doing] = {
    "start": lambda batch, principal, entered: services.batch_start(
        batch=batch, principal=principal, now=clock.now(), reason=entered["reason"]
    ),
    "approve": lambda batch, principal, entered: services.batch_approve(
        batch=batch, principal=principal, now=clock.now(), reason=entered["reason"]
    ),
    "pause": lambda batch, principal, entered: services.batch_pause(
        batch=batch, principal=principal, reason=entered["reason"]
    ),
    "resume": lambda batch, principal, entered: services.batch_resume(
        batch=batch, principal=principal, reason=entered["reason"]
    ),
    "cancel": lambda batch, principal, entered: services.batch_cancel(
        batch=batch,
        principal=principal,
        now=clock.now(),
        reason=entered["reason"],
        force=entered["force"],
    ),
    "retry": lambda batch, principal, _entered: services.batch_retry_failed(
        batch=batch,
        principal=principal,
        now=clock.now(),
        draft=True,
        origin=CommandBatch.Origin.CONSOLE,
    ),
}

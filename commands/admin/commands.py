"""The list of commands and the page of one."""

from functools import partial
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import path, reverse
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    DropdownFilter,
)
from unfold.decorators import display

from accounts.admin_lists import BoundedPaginator, ChoicesFilter, MomentsFilter
from accounts.admin_requests import principal_of
from accounts.policy import Action
from commands import registry, services
from commands.admin.command_page import CommandPage
from commands.admin.queue import queue_view
from commands.models import Command
from common import clock, limits, markup
from common.errors import DomainError


class StatusFilter(ChoicesFilter):
    title = "status"
    parameter_name = "status"


class KindFilter(DropdownFilter):
    title = "type"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind.name, kind.label) for kind in registry.kinds()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Command]) -> QuerySet[Command]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


@admin.register(Command)
class CommandAdmin(CommandPage):
    """What devices were told to do, and what came of it."""

    rights: ClassVar[dict[str, Action]] = {
        "view": Action.COMMAND_READ,
        "cancel": Action.COMMAND_CANCEL,
        "queue": Action.COMMAND_CREATE,
    }
    paginator = BoundedPaginator
    list_display = [
        "type",
        "status_badge",
        "device_link",
        "priority",
        "made",
        "created_by",
        "ended",
        "attempt",
    ]
    list_filter = [
        StatusFilter,
        KindFilter,
        ("device", AutocompleteSelectFilter),
        ("batch", AutocompleteSelectFilter),
        ("created_at", MomentsFilter),
    ]
    list_select_related = ["device", "organization"]
    search_fields = ["device__device_id", "created_by"]
    search_help_text = "Device id, or who queued it"
    ordering = ["-id"]
    actions = ["cancel_selected"]

    @display(description="Type", ordering="kind")
    def type(self, row: Command) -> str:
        return row.kind

    @display(description="Status", ordering="status")
    def status_badge(self, row: Command) -> str:
        return markup.badge(row.status, row.get_status_display())

    @display(description="Device", ordering="device__device_id")
    def device_link(self, row: Command) -> str:
        return markup.link(reverse("console:device", args=[row.device_id]), row.device.device_id)

    @display(description="Queued", ordering="created_at")
    def made(self, row: Command) -> str:
        return markup.moment(row.created_at)

    @display(description="Ended", ordering="finished_at")
    def ended(self, row: Command) -> str:
        return markup.moment(row.finished_at)

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(partial(queue_view, self))
        return [path("queue/", view, name="commands_command_queue"), *super().get_urls()]

    @admin.action(permissions=["cancel"], description="Cancel")
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Command]) -> None:
        """Cancel what has not ended; devices that hold one are asked to stop."""
        actor, now = principal_of(request), clock.now()
        done = asked = 0
        for command in queryset[: limits.PAGE_SIZE_MAX]:
            try:
                row = services.command_cancel(
                    command=command, actor=actor, now=now, source="console"
                )
            except DomainError as refusal:
                self.message_user(request, refusal.message, messages.WARNING)
                continue
            asked += row.is_open
            done += not row.is_open
        for count, words in ((done, "cancelled"), (asked, "asked to stop")):
            if count:
                noun = "command" if count == 1 else "commands"
                self.message_user(request, f"{count} {noun} {words}.", messages.SUCCESS)

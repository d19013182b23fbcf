"""The list of commands and the page of one."""

from functools import partial
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    DropdownFilter,
    MultipleDropdownFilter,
)
from unfold.decorators import display

from accounts.admin_site import BoundedPaginator, MomentsFilter, TenantModelAdmin, principal_of
from accounts.policy import Action
from commands import registry, services
from commands.admin.queue import queue_view
from commands.models import Command
from common import clock, limits, markup
from common.errors import DomainError

# The moments of a command's life, in order.
_STEPS = [
    ("created_at", "queued"),
    ("delivered_at", "delivered"),
    ("started_at", "running"),
    ("finished_at", ""),
]


class StatusFilter(MultipleDropdownFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in Command.Status.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Command]) -> QuerySet[Command]:
        wanted = [word for word in request.GET.getlist("status") if word]
        return queryset.filter(status__in=wanted) if wanted else queryset


class KindFilter(DropdownFilter):
    title = "type"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind.name, kind.label) for kind in registry.kinds()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Command]) -> QuerySet[Command]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


def timeline(command: Command) -> list[dict[str, Any]]:
    """Return what happened to a command and when, oldest first."""
    steps = []
    for name, word in _STEPS:
        at = getattr(command, name)
        if at is not None:
            steps.append({"at": at, "status": word or command.status})
    return steps


@admin.register(Command)
class CommandAdmin(TenantModelAdmin):
    """What devices were told to do, and what came of it."""

    rights: ClassVar[dict[str, Action]] = {
        "view": Action.COMMAND_READ,
        "cancel": Action.COMMAND_CANCEL,
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
        ("created_at", MomentsFilter),
    ]
    list_select_related = ["device", "organization"]
    search_fields = ["device__device_id", "created_by"]
    search_help_text = "Device id, or who queued it"
    ordering = ["-id"]
    actions = ["cancel_selected"]

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return self.holds(request, "cancel")

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
        wrap = self.admin_site.admin_view
        return [
            path("queue/", wrap(partial(queue_view, self)), name="commands_command_queue"),
            path("<uuid:pk>/cancel/", wrap(self.cancel_view), name="commands_command_cancel"),
            path("<uuid:pk>/live/", wrap(self.live_view), name="commands_command_live"),
            *super().get_urls(),
        ]

    def _visible(self, request: HttpRequest, object_id: object) -> Command | None:
        if not self.has_view_permission(request):
            raise PermissionDenied
        found: Command | None = self.get_object(request, unquote(str(object_id)))
        return found

    def _context(self, request: HttpRequest, command: Command) -> dict[str, Any]:
        return {
            "command": command,
            "timeline": timeline(command),
            "bundle": getattr(command, "bundle", None),
            "may_cancel": command.is_open and self.has_cancel_permission(request),
            "may_read_bundle": principal_of(request).may(Action.BUNDLE_READ),
        }

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one command; nothing of it is edited."""
        command = self._visible(request, object_id)
        if command is None:
            return self.absent(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            **self._context(request, command),
            "title": f"{command.kind} on {command.device.device_id}",
            "model_admin": self,
        }
        return TemplateResponse(request, "admin/commands/command/page.html", context)

    def live_view(self, request: HttpRequest, pk: object) -> HttpResponse:
        """Return the changing part of the page."""
        command = self._visible(request, pk)
        if command is None:
            return HttpResponse(status=404)
        return TemplateResponse(
            request, "admin/commands/command/live.html", self._context(request, command)
        )

    def cancel_view(self, request: HttpRequest, pk: object) -> HttpResponse:
        """Cancel one command."""
        command = self._visible(request, pk)
        if command is None:
            return self.absent(request, pk)
        if request.method != "POST" or not self.has_cancel_permission(request):
            raise PermissionDenied
        self._cancel(request, [command])
        return redirect("admin:commands_command_change", command.pk)

    @admin.action(permissions=["cancel"], description="Cancel")
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Command]) -> None:
        """Cancel what has not ended."""
        self._cancel(request, list(queryset[: limits.PAGE_SIZE_MAX]))

    def _cancel(self, request: HttpRequest, commands: list[Command]) -> None:
        actor, now, done = principal_of(request), clock.now(), 0
        for command in commands:
            try:
                services.command_cancel(command=command, actor=actor, now=now)
                done += 1
            except DomainError as refusal:
                self.message_user(request, refusal.message, messages.WARNING)
        if done:
            word = "command" if done == 1 else "commands"
            self.message_user(request, f"{done} {word} cancelled.", messages.SUCCESS)

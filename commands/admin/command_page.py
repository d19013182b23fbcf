"""The page of one command: where it is, why it waits, what it prints, and what to do about it."""

import re
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path

from accounts.admin_requests import principal_of
from accounts.admin_site import TenantModelAdmin
from accounts.policy import Action
from commands import services
from commands.admin import command_parts as parts
from commands.admin.once import form_nonce, once
from commands.admin.printed import Printed, last_printed, printed, whole_text
from commands.errors import VersionConflict
from commands.models import Command
from common import clock, limits, markup
from common.errors import DomainError

_number = re.compile(r"[0-9]{1,9}").fullmatch
_FOLDER = "admin/commands/command"


class ActForm(forms.Form):
    """What a person says with an act; the version is the one they looked at."""

    expected_version = forms.IntegerField(required=False, min_value=1, max_value=limits.INT_MAX)
    reason = forms.CharField(required=False, max_length=limits.LINE_CHARS)
    force = forms.BooleanField(required=False)


Act = Callable[[HttpRequest, Command, dict[str, Any]], Command]


def _asked_number(request: HttpRequest, name: str) -> int | None:
    found = _number(request.GET.get(name, ""))
    return int(found.group()) if found else None


def _cancel(request: HttpRequest, command: Command, entered: dict[str, Any]) -> Command:
    row = services.command_cancel(
        command=command,
        actor=principal_of(request),
        now=clock.now(),
        reason=entered["reason"],
        force=entered["force"],
        expected_version=entered["expected_version"],
        source="console",
    )
    said = "The command is cancelled."
    if row.is_open:
        limit = markup.span_text(limits.COMMAND_CANCEL_S)
        said = f"The device was asked to stop. Without an answer it is cancelled in {limit}."
    messages.success(request, said)
    return row


def _retry(request: HttpRequest, command: Command, entered: dict[str, Any]) -> Command:
    again = services.command_retry(
        command=command,
        actor=principal_of(request),
        now=clock.now(),
        expected_version=entered["expected_version"],
        source="console",
    )
    messages.success(request, "Queued once more; this is the new command.")
    return again


def _release(request: HttpRequest, command: Command, entered: dict[str, Any]) -> Command:
    row = services.command_release(
        command=command,
        actor=principal_of(request),
        now=clock.now(),
        expected_version=entered["expected_version"],
        source="console",
    )
    messages.success(request, "The command is released.")
    return row


class CommandPage(TenantModelAdmin):
    """The views of one command; nothing of it is edited, it is acted upon."""

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return self.holds(request, "cancel")

    def has_queue_permission(self, request: HttpRequest) -> bool:
        return self.holds(request, "queue")

    def get_urls(self) -> list[Any]:
        views = {
            "live": self.live_view,
            "output": self.output_view,
            "download": self.download_view,
            "cancel": self.cancel_view,
            "retry": self.retry_view,
            "release": self.release_view,
        }
        wrap = self.admin_site.admin_view
        own = [
            path(f"<uuid:pk>/{word}/", wrap(view), name=f"commands_command_{word}")
            for word, view in views.items()
        ]
        return [*own, *super().get_urls()]

    def _visible(self, request: HttpRequest, object_id: object) -> Command | None:
        if not self.has_view_permission(request):
            raise PermissionDenied
        found: Command | None = self.get_object(request, unquote(str(object_id)))
        return found

    def _parts(self, request: HttpRequest, command: Command, attempt: int) -> dict[str, Any]:
        """Return what the parts that are fetched again need."""
        may_cancel = self.has_cancel_permission(request)
        may_queue = self.has_queue_permission(request)
        has_failed = not command.is_open and command.status != Command.Status.SUCCEEDED
        return {
            **parts.head(command),
            **parts.why(command),
            **parts.story(command, attempt),
            **parts.outcome(command),
            "may_cancel": may_cancel and command.is_open,
            "may_retry": may_queue and has_failed,
            "may_release": may_queue
            and bool(command.held_reason)
            and command.status == Command.Status.QUEUED,
            "sent_once": form_nonce(),
            "may_read_bundle": principal_of(request).may(Action.BUNDLE_READ),
        }

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one command."""
        command = self._visible(request, object_id)
        if command is None:
            return self.absent(request, object_id)
        return self._page(request, command)

    def _page(
        self,
        request: HttpRequest,
        command: Command,
        entered: dict[str, Any] | None = None,
        status: int = 200,
    ) -> HttpResponse:
        asked = _asked_number(request, "attempt")
        shown = last_printed(command, attempt=command.attempt if asked is None else asked)
        context = {
            **self.admin_site.each_context(request),
            **self._parts(request, command, shown.attempt),
            **parts.asked(command),
            "printed": shown,
            "chosen": asked,
            # What was entered before somebody else moved the command.
            "entered": entered,
            "title": f"{command.kind} on {command.device.device_id}",
            "model_admin": self,
        }
        return TemplateResponse(request, f"{_FOLDER}/page.html", context, status=status)

    def live_view(self, request: HttpRequest, pk: object) -> HttpResponse:
        """Return the changing parts of the page."""
        command = self._visible(request, pk)
        if command is None:
            return HttpResponse(status=404)
        asked = _asked_number(request, "attempt")
        attempt = command.attempt if asked is None else asked
        context = self._parts(request, command, attempt)
        return TemplateResponse(request, f"{_FOLDER}/live.html", context)

    def output_view(self, request: HttpRequest, pk: object) -> HttpResponse:
        """Return what was printed since: of `attempt`, or of the present one when not named.

        The page says which attempt it shows (`seen`) and the piece it waits for (`next`).
        """
        command = self._visible(request, pk)
        if command is None:
            return HttpResponse(status=404)
        asked = _asked_number(request, "attempt")
        attempt = command.attempt if asked is None else asked
        after = (_asked_number(request, "next") or 0) - 1
        if attempt != _asked_number(request, "seen"):
            after = -1
        found: Printed = printed(command, attempt=attempt, after=after)
        context = {"command": command, "printed": found}
        return TemplateResponse(request, f"{_FOLDER}/output.html", context)

    def download_view(self, request: HttpRequest, pk: object) -> HttpResponse:
        """Hand out everything that is kept of what an attempt printed."""
        command = self._visible(request, pk)
        if command is None:
            return HttpResponse(status=404)
        asked = _asked_number(request, "attempt")
        attempt = command.attempt if asked is None else asked
        name = f"{command.device.device_id}-{command.kind}-{command.pk}-{attempt}.txt"
        return HttpResponse(
            whole_text(command, attempt=attempt),
            content_type="text/plain; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    def cancel_view(self, request: HttpRequest, pk: object) -> HttpResponse:
        """Cancel the command, or ask the device that holds it to stop."""
        return self._act(request, pk, right="cancel", act=_cancel)

    def retry_view(self, request: HttpRequest, pk: object) -> HttpResponse:
        """Queue the same once more and go to the new command."""
        return self._act(request, pk, right="queue", act=_retry)

    def release_view(self, request: HttpRequest, pk: object) -> HttpResponse:
        """Let a held command go."""
        return self._act(request, pk, right="queue", act=_release)

    def _act(self, request: HttpRequest, pk: object, *, right: str, act: Act) -> HttpResponse:
        """Do it and show the command; one that moved meanwhile is shown with what was entered."""
        command = self._visible(request, pk)
        if command is None:
            return self.absent(request, pk)
        if request.method != "POST" or not self.holds(request, right):
            raise PermissionDenied
        form = ActForm(request.POST)
        if not form.is_valid():
            for name, faults in form.errors.items():
                self.message_user(request, f"{name}: {faults[0]}", messages.ERROR)
            return self._page(request, command, request.POST.dict(), status=422)
        try:
            return once(request, lambda: self._done(request, command, act, form.cleaned_data))
        except VersionConflict as conflict:
            self.message_user(request, conflict.message, messages.WARNING)
            present = self._visible(request, pk)
            if present is not None:
                return self._page(request, present, form.cleaned_data, status=409)
        except DomainError as refusal:
            self.message_user(request, refusal.message, messages.WARNING)
        return redirect("admin:commands_command_change", command.pk)

    def _done(
        self, request: HttpRequest, command: Command, act: Act, entered: dict[str, Any]
    ) -> tuple[HttpResponse, str]:
        answer = redirect("admin:commands_command_change", act(request, command, entered).pk)
        return answer, answer.url

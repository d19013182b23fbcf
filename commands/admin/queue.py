"""Queueing a command for one device or for many, in the browser."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse

from accounts.admin_site import principal_of
from accounts.policy import Action
from accounts.principals import Principal
from commands import registry, services
from commands.admin.payload_forms import PayloadForm, QueueForm
from commands.models import OPEN
from common import clock, limits
from common.errors import DomainError
from devices.admin import DeviceAdmin
from devices.admin.bulk import frozen
from devices.models import Device

DEFAULT_KIND = "restart_service"


@dataclass(frozen=True)
class Selection:
    """The devices as they were chosen: those that take commands, and why the others do not."""

    taking: list[Device]
    left_out: list[tuple[Device, str]]

    @property
    def ids(self) -> str:
        """All chosen devices as one word for a hidden field."""
        chosen = [*self.taking, *(device for device, _reason in self.left_out)]
        return ",".join(device.pk.hex for device in chosen)


def _reason(device: Any) -> str:
    if device.lifecycle not in {Device.Lifecycle.ACTIVE, Device.Lifecycle.QUARANTINED}:
        return f"is {device.lifecycle}: only active devices take commands"
    if device.open_commands >= limits.COMMANDS_PER_DEVICE:
        return f"holds {device.open_commands} open commands already"
    return ""


def select(ids: list[UUID], principal: Principal) -> Selection:
    """Look the chosen devices up among the visible ones."""
    rows = (
        Device.objects.visible_to(principal)
        .filter(pk__in=ids)
        .select_related("organization", "state")
        .annotate(open_commands=Count("commands", filter=Q(commands__status__in=OPEN)))
        .order_by("device_id")
    )
    taking: list[Device] = []
    left_out = []
    for device in rows[: limits.COMMAND_BULK_DEVICES]:
        reason = _reason(device)
        if reason:
            left_out.append((device, reason))
        else:
            taking.append(device)
    return Selection(taking, left_out)


def _ids(text: str) -> list[UUID]:
    try:
        return [UUID(word) for word in text.split(",") if word][: limits.COMMAND_BULK_DEVICES]
    except ValueError:
        return []


def queue_view(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Show the form, or queue what it says and show what became of each device."""
    principal = principal_of(request)
    if principal.organization is None or not principal.may(Action.COMMAND_CREATE):
        raise PermissionDenied
    given = request.POST if request.method == "POST" else request.GET
    chosen = select(_ids(given.get("devices", "")), principal)
    if not chosen.taking and not chosen.left_out:
        model_admin.message_user(request, "Choose devices first.", messages.WARNING)
        return redirect("admin:devices_device_changelist")
    if request.method == "POST" and "confirmed" in request.POST:
        return _queue(model_admin, request, chosen)
    return _page(model_admin, request, chosen, *_forms(None, chosen))


def _forms(
    data: Any, chosen: Selection, kind: str = DEFAULT_KIND
) -> tuple[QueueForm, list[PayloadForm]]:
    form = QueueForm(data, initial={"kind": kind, "devices": chosen.ids})
    # Only the chosen kind's fields are read: the others may stand half filled in.
    payloads = [
        PayloadForm(one, data if data and data.get("kind") == one.name else None)
        for one in registry.kinds()
    ]
    return form, payloads


def _queue(model_admin: Any, request: HttpRequest, chosen: Selection) -> HttpResponse:
    form, payloads = _forms(request.POST, chosen)
    details = next((one for one in payloads if one.is_bound), None)
    if not form.is_valid() or details is None or not details.is_valid():
        return _page(model_admin, request, chosen, form, payloads)
    try:
        registry.validate(name=details.kind.name, payload=details.payload())
    except DomainError as refusal:
        details.add_error(None, refusal.message)
        return _page(model_admin, request, chosen, form, payloads)
    outcome = services.commands_queue(
        devices=chosen.taking,
        kind=details.kind.name,
        payload=details.payload(),
        ttl=timedelta(minutes=form.cleaned_data["expires_in_min"]),
        priority=form.cleaned_data["priority"],
        actor=principal_of(request),
        now=clock.now(),
    )
    return _answer(model_admin, request, chosen, outcome)


def _answer(
    model_admin: Any, request: HttpRequest, chosen: Selection, outcome: list[services.Queued]
) -> HttpResponse:
    """One device: its command's page. Several: what became of each."""
    if len(outcome) == 1 and outcome[0].command and not chosen.left_out:
        command = outcome[0].command
        sentence = f"Queued “{command.kind}” for {outcome[0].device.device_id}."
        model_admin.message_user(request, sentence, messages.SUCCESS)
        return redirect("admin:commands_command_change", command.pk)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Queued",
        "model_admin": model_admin,
        "queued": [one for one in outcome if one.command],
        "refused": [(one.device, one.refusal.message) for one in outcome if one.refusal],
        "left_out": chosen.left_out,
    }
    return TemplateResponse(request, "admin/commands/command/queued.html", context)


def _page(
    model_admin: Any,
    request: HttpRequest,
    chosen: Selection,
    form: QueueForm,
    payloads: list[PayloadForm],
) -> HttpResponse:
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Queue a command",
        "model_admin": model_admin,
        "chosen": chosen,
        "form": form,
        "payloads": payloads,
        "kind": form["kind"].value(),
        "action_url": reverse("admin:commands_command_queue"),
    }
    return TemplateResponse(request, "admin/commands/command/queue.html", context)


@admin.action(permissions=["command"], description="Queue a command…")
def queue_for_selected(
    model_admin: Any, request: HttpRequest, queryset: QuerySet[Device]
) -> HttpResponse | None:
    """Freeze the selection and ask for the command."""
    devices = frozen(model_admin, request, queryset)
    if not devices:
        return None
    chosen = select([device.pk for device in devices], principal_of(request))
    return _page(model_admin, request, chosen, *_forms(None, chosen))


DeviceAdmin.actions.insert(0, queue_for_selected)

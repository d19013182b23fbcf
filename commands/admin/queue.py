"""Queueing a command for one device or for many, in the browser."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse

from accounts.admin_requests import principal_of
from accounts.policy import Action
from accounts.principals import Principal
from commands import services
from commands.admin.once import FIELD, form_nonce, once
from commands.admin.queue_forms import Sheet
from commands.models import OPEN
from commands.services import library
from common import clock, limits
from common.errors import DomainError
from devices.admin import DeviceAdmin
from devices.admin.bulk import frozen
from devices.models import Device


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
    if request.method != "POST" or "confirmed" not in request.POST:
        return _page(model_admin, request, chosen, Sheet(principal, chosen.ids))
    if "use_template" in request.POST:
        return _page(model_admin, request, chosen, _filled(request, chosen))
    sheet = Sheet(principal, chosen.ids, request.POST)
    if not sheet.is_valid():
        return _page(model_admin, request, chosen, sheet)
    try:
        if "save_template" in request.POST:
            return _save_template(model_admin, request, chosen, sheet)
        return once(request, lambda: _queue(model_admin, request, chosen, sheet))
    except DomainError as refusal:
        sheet.form.add_error(None, refusal.message)
        return _page(model_admin, request, chosen, sheet)


def _filled(request: HttpRequest, chosen: Selection) -> Sheet:
    """Return the page as the chosen template fills it in."""
    principal = principal_of(request)
    sheet = Sheet(principal, chosen.ids, request.POST)
    template = sheet.chosen_template()
    return Sheet(principal, chosen.ids, template=template) if template else sheet


def _save_template(
    model_admin: Any, request: HttpRequest, chosen: Selection, sheet: Sheet
) -> HttpResponse:
    principal = principal_of(request)
    if not principal.may(Action.TEMPLATE_MANAGE):
        raise PermissionDenied
    if not sheet.form.cleaned_data["new_template"]:
        sheet.form.add_error("new_template", "Give it a name.")
        return _page(model_admin, request, chosen, sheet)
    template = library.template_create(
        organization=principal.acting_organization(),
        values=sheet.template_values(),
        actor=principal,
        now=clock.now(),
    )
    sentence = f"Saved the template “{template.name}”. Nothing is queued yet."
    model_admin.message_user(request, sentence, messages.SUCCESS)
    return _page(model_admin, request, chosen, sheet)


def _queue(
    model_admin: Any, request: HttpRequest, chosen: Selection, sheet: Sheet
) -> tuple[HttpResponse, str | None]:
    kind, payload, options = sheet.order()
    outcome = services.commands_queue(
        devices=chosen.taking,
        kind=kind,
        payload=payload,
        options=options,
        source="console",
        actor=principal_of(request),
        now=clock.now(),
    )
    answer = _answer(model_admin, request, chosen, outcome)
    if not any(one.command for one in outcome):
        return answer, None
    return answer, answer.get("Location") or reverse("admin:commands_command_changelist")


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


def _page(model_admin: Any, request: HttpRequest, chosen: Selection, sheet: Sheet) -> HttpResponse:
    sent_once = request.POST.get(FIELD) if sheet.form.is_bound else ""
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Queue a command",
        "model_admin": model_admin,
        "chosen": chosen,
        "sheet": sheet,
        "form": sheet.form,
        "kind": sheet.form["kind"].value(),
        "sent_once": sent_once or form_nonce(),
        "may_save_template": principal_of(request).may(Action.TEMPLATE_MANAGE),
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
    principal = principal_of(request)
    chosen = select([device.pk for device in devices], principal)
    return _page(model_admin, request, chosen, Sheet(principal, chosen.ids))


DeviceAdmin.actions.insert(0, queue_for_selected)

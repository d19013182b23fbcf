"""Verbs over many devices: one service call per device, each succeeds or is refused by itself."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from accounts.admin_requests import principal_of
from accounts.admin_site import TenantModelAdmin
from common import clock, limits
from common.errors import DomainError
from devices.admin.forms import ReasonForm, TagForm
from devices.models import Device
from devices.services import registry

_SHOWN = 5


def frozen(
    model_admin: Any, request: HttpRequest, queryset: QuerySet[Device]
) -> list[Device] | None:
    """Return the selected devices as a list, or None with a message when they are too many."""
    most = limits.COMMAND_BULK_DEVICES
    devices = list(queryset.select_related("organization", "state")[: most + 1])
    if len(devices) > most:
        sentence = f"More than {most} devices are selected. Narrow the list by a filter first."
        model_admin.message_user(request, sentence, messages.ERROR)
        return None
    return devices


def apply(
    model_admin: Any,
    request: HttpRequest,
    devices: list[Device],
    verb: Callable[[Device], object],
    *,
    done: str,
) -> None:
    """Call `verb` for each device; say how many went well and why the others did not."""
    refusals = []
    for device in devices:
        try:
            verb(device)
        except DomainError as refusal:
            refusals.append(refusal.message)
    went_well = len(devices) - len(refusals)
    if went_well:
        plural = "" if went_well == 1 else "s"
        model_admin.message_user(request, f"{went_well} device{plural} {done}.", messages.SUCCESS)
    for sentence in refusals[:_SHOWN]:
        model_admin.message_user(request, sentence, messages.WARNING)
    if len(refusals) > _SHOWN:
        rest = f"{len(refusals) - _SHOWN} more were left as they are, for like reasons."
        model_admin.message_user(request, rest, messages.WARNING)


class DeviceVerbs(TenantModelAdmin):
    """The actions of the list that this floor offers; higher floors add theirs."""

    def has_accept_permission(self, request: HttpRequest) -> bool:
        return self.holds(request, "accept")

    def has_retire_permission(self, request: HttpRequest) -> bool:
        return self.holds(request, "retire")

    def has_command_permission(self, request: HttpRequest) -> bool:
        return self.holds(request, "command")

    @admin.action(permissions=["change"], description="Add or remove tags…")
    def tag_selected(self, request: HttpRequest, queryset: QuerySet[Device]) -> Any:
        """Ask for the tags, then write them."""
        devices = frozen(self, request, queryset)
        form = TagForm(request.POST if "confirmed" in request.POST else None)
        if devices is None:
            return None
        if not form.is_valid():
            return self._ask(request, "tag_selected", "Add or remove tags", devices, form)
        actor, now = principal_of(request), clock.now()
        add, remove = form.cleaned_data["add"], form.cleaned_data["remove"]
        apply(
            self,
            request,
            devices,
            lambda device: registry.devices_tag(
                devices=[device], add=add, remove=remove, actor=actor, now=now
            ),
            done="tagged",
        )
        return redirect(request.path)

    @admin.action(permissions=["accept"], description="Accept")
    def accept_selected(self, request: HttpRequest, queryset: QuerySet[Device]) -> None:
        """Let pending devices in."""
        devices = frozen(self, request, queryset) or []
        actor, now = principal_of(request), clock.now()
        apply(
            self,
            request,
            devices,
            lambda device: registry.device_accept(device=device, actor=actor, now=now),
            done="accepted",
        )

    @admin.action(permissions=["accept"], description="Reject…")
    def reject_selected(self, request: HttpRequest, queryset: QuerySet[Device]) -> Any:
        """Ask for the reason, then turn pending devices away."""
        return self._with_reason(
            request,
            queryset,
            name="reject_selected",
            title="Reject",
            done="rejected",
            verb=registry.device_reject,
        )

    @admin.action(permissions=["retire"], description="Retire…")
    def retire_selected(self, request: HttpRequest, queryset: QuerySet[Device]) -> Any:
        """Ask for the reason, then decommission."""
        return self._with_reason(
            request,
            queryset,
            name="retire_selected",
            title="Retire",
            done="retired",
            verb=registry.device_retire,
        )

    @admin.action(permissions=["change"], description="Maintenance on")
    def maintenance_on(self, request: HttpRequest, queryset: QuerySet[Device]) -> None:
        """Mark the devices as being worked on."""
        self._maintenance(request, queryset, wanted=True)

    @admin.action(permissions=["change"], description="Maintenance off")
    def maintenance_off(self, request: HttpRequest, queryset: QuerySet[Device]) -> None:
        """Put the devices back to work."""
        self._maintenance(request, queryset, wanted=False)

    def _maintenance(
        self, request: HttpRequest, queryset: QuerySet[Device], *, wanted: bool
    ) -> None:
        actor, now = principal_of(request), clock.now()
        apply(
            self,
            request,
            frozen(self, request, queryset) or [],
            lambda device: registry.device_update(
                device=device, changes={"maintenance_mode": wanted}, actor=actor, now=now
            ),
            done="put into maintenance" if wanted else "taken out of maintenance",
        )

    def _with_reason(
        self,
        request: HttpRequest,
        queryset: QuerySet[Device],
        *,
        name: str,
        title: str,
        done: str,
        verb: Callable[..., Device],
    ) -> HttpResponse | None:
        devices = frozen(self, request, queryset)
        form = ReasonForm(request.POST if "confirmed" in request.POST else None)
        if devices is None:
            return None
        if not form.is_valid():
            return self._ask(request, name, title, devices, form)
        actor, now, reason = principal_of(request), clock.now(), form.cleaned_data["reason"]
        apply(
            self,
            request,
            devices,
            lambda device: verb(device=device, actor=actor, now=now, reason=reason),
            done=done,
        )
        return redirect(request.path)

    def _ask(
        self, request: HttpRequest, action: str, title: str, devices: list[Device], form: Any
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "model_admin": self,
            "action": action,
            "devices": devices,
            "form": form,
            "checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/devices/device/bulk.html", context)

"""What can be done to one device from its page. Each verb: right, form, one service call."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts.policy import Action
from accounts.principals import Principal
from common import clock
from common.errors import DomainError
from console.views.base import allowed, back, visible
from console.views.recovery_verbs import RECOVERY_VERBS
from devices.admin.forms import ReasonForm, StatusForm
from devices.models import Device
from devices.services import registry


def _accept(_request: HttpRequest, device: Device, actor: Principal) -> str:
    registry.device_accept(device=device, actor=actor, now=clock.now())
    return f"{device.device_id} is active."


def _reason(request: HttpRequest) -> str:
    form = ReasonForm(request.POST)
    return str(form.cleaned_data["reason"]) if form.is_valid() else ""


def _reject(request: HttpRequest, device: Device, actor: Principal) -> str:
    registry.device_reject(device=device, actor=actor, now=clock.now(), reason=_reason(request))
    return f"{device.device_id} was turned away."


def _retire(request: HttpRequest, device: Device, actor: Principal) -> str:
    registry.device_retire(device=device, actor=actor, now=clock.now(), reason=_reason(request))
    return f"{device.device_id} is retired; its token no longer works."


def _maintenance(request: HttpRequest, device: Device, actor: Principal) -> str:
    wanted = request.POST.get("on") == "1"
    changes = {"maintenance_mode": wanted}
    registry.device_update(device=device, changes=changes, actor=actor, now=clock.now())
    return f"{device.device_id} is {'in' if wanted else 'out of'} maintenance."


def _status(request: HttpRequest, device: Device, actor: Principal) -> str:
    form = StatusForm(request.POST)
    if not form.is_valid():
        faults = form.errors.get_json_data().items()
        raise DomainError("; ".join(f"{name}: {found[0]['message']}" for name, found in faults))
    now, hours = clock.now(), form.cleaned_data["hours"]
    registry.device_status_override(
        device=device,
        status=form.cleaned_data["status"],
        reason=form.cleaned_data["reason"],
        until=now + timedelta(hours=hours) if hours else None,
        actor=actor,
        now=now,
    )
    if not form.cleaned_data["status"]:
        return f"{device.device_id} is shown as it reports again."
    return f"{device.device_id} is shown as {form.cleaned_data['status']}."


Verb = Callable[[Any, Device, Principal], str]
VERBS: dict[str, tuple[Action, Verb]] = {
    "accept": (Action.DEVICE_ACCEPT, _accept),
    "reject": (Action.DEVICE_ACCEPT, _reject),
    "retire": (Action.DEVICE_RETIRE, _retire),
    "maintenance": (Action.DEVICE_UPDATE, _maintenance),
    "status": (Action.DEVICE_UPDATE, _status),
    **RECOVERY_VERBS,
}


@require_POST
def act(request: HttpRequest, pk: UUID, verb: str) -> HttpResponse:
    """Do one thing to one device and go back; a refusal becomes a message."""
    if verb not in VERBS:
        raise Http404
    action, do = VERBS[verb]
    rows = Device.objects.select_related("organization", "state")
    device = visible(rows, allowed(request, Action.DEVICE_READ), pk)
    principal = allowed(request, action, acting=True)
    try:
        messages.success(request, do(request, device, principal))
    except DomainError as refusal:
        messages.error(request, refusal.message)
    return back(request, reverse("console:device", args=[device.pk]))

"""The page of a device: overview, heartbeats, commands, events, audit."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse

from accounts.policy import Action
from accounts.principals import Principal
from audit.models import AuditEntry
from commands.models import OPEN, Command
from common import clock
from console.forms import ReasonForm, StatusForm
from console.views.base import allowed, page, visible
from devices.models import Device, DeviceEvent, Heartbeat
from devices.selectors import metric_buckets
from governance.admin import changes

SHOWN = 100
CHARTED = ["cpu_percent", "mem_percent", "disk_percent", "temperature_c"]
# Hours shown, and the step of the averages in seconds.
SPANS = {1: 30, 6: 120, 24: 600, 168: 3_600}
TABS = [
    ("overview", "Overview", "console:device"),
    ("heartbeats", "Heartbeats", "console:device-heartbeats"),
    ("commands", "Commands", "console:device-commands"),
    ("events", "Events", "console:device-events"),
    ("audit", "Audit", "console:device-audit"),
]


def find(request: HttpRequest, pk: UUID) -> tuple[Principal, Device]:
    """Return whoever asks and the device they may see, or 404."""
    principal = allowed(request, Action.DEVICE_READ)
    rows = Device.objects.select_related("state", "organization")
    return principal, visible(rows, principal, pk)


def header(principal: Principal, device: Device, tab: str) -> dict[str, Any]:
    """Return what the head of every tab shows: identity, verbs, tabs."""
    here = principal.organization is not None

    def may(action: Action) -> bool:
        return here and principal.may(action)

    tabs = [one for one in TABS if one[0] != "audit" or principal.may(Action.AUDIT_READ)]
    return {
        "device": device,
        "state": device.state,
        "tab": tab,
        "tabs": tabs,
        "title": device.device_id,
        "content_title": device.device_id,
        "model_admin": admin.site.get_model_admin(Device),
        "may_update": may(Action.DEVICE_UPDATE) and not device.is_retired,
        "may_command": may(Action.COMMAND_CREATE)
        and device.lifecycle in {Device.Lifecycle.ACTIVE, Device.Lifecycle.QUARANTINED},
        "may_accept": may(Action.DEVICE_ACCEPT) and device.lifecycle == Device.Lifecycle.PENDING,
        "may_retire": may(Action.DEVICE_RETIRE) and not device.is_retired,
        "reason_form": ReasonForm(),
        "status_form": StatusForm(
            initial={
                "status": device.status_override,
                "reason": device.status_override_reason,
            }
        ),
    }


def overview(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The latest state, the last hours as a chart, and what the device is."""
    principal, device = find(request, pk)
    context = {
        **header(principal, device, "overview"),
        **_live(principal, device),
        "groups": device.groups.visible_to(principal).order_by("name"),
        "spans": SPANS,
    }
    return page(request, "console/device/overview.html", context)


def _live(principal: Principal, device: Device) -> dict[str, Any]:
    state = device.state
    commands = Command.objects.visible_to(principal).filter(device=device)
    return {
        "device": device,
        "state": state,
        "meters": [
            {"label": "Processor", "value": state.cpu_percent},
            {"label": "Memory", "value": state.mem_percent},
            {"label": "Disk", "value": state.disk_percent},
        ],
        "open_commands": commands.filter(status__in=OPEN).count(),
        "recent": commands.order_by("-id")[:5],
        "problems": state.errors[:5] if isinstance(state.errors, list) else [],
        "free_metrics": sorted(state.metrics.items()) if isinstance(state.metrics, dict) else [],
    }


def live(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Return the changing part of the overview."""
    principal, device = find(request, pk)
    return TemplateResponse(request, "console/device/live.html", _live(principal, device))


def chart(request: HttpRequest, pk: UUID) -> JsonResponse:
    """Return the averages of the last hours as columns: seconds since the epoch, then metrics."""
    _principal, device = find(request, pk)
    asked = request.GET.get("hours", "")
    hours = int(asked) if asked.isdigit() and int(asked) in SPANS else 6
    now = clock.now()
    columns: dict[str, dict[int, float]] = {}
    for metric in CHARTED:
        buckets = metric_buckets(
            device=device,
            metric=metric,
            start=now - timedelta(hours=hours),
            end=now,
            step=timedelta(seconds=SPANS[hours]),
        )
        columns[metric] = {int(one["at"].timestamp()): round(one["avg"], 1) for one in buckets}
    moments = sorted(set().union(*columns.values()))
    return JsonResponse(
        {
            "at": moments,
            "step": SPANS[hours],
            "from": int(now.timestamp()) - hours * 3_600,
            "to": int(now.timestamp()),
            "series": {
                name: [values.get(moment) for moment in moments]
                for name, values in columns.items()
            },
        }
    )


def heartbeats(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The newest heartbeats."""
    principal, device = find(request, pk)
    rows = Heartbeat.objects.filter(device=device).order_by("-at")[:SHOWN]
    context = {**header(principal, device, "heartbeats"), "rows": rows, "shown": SHOWN}
    return page(request, "console/device/heartbeats.html", context)


def _commands(principal: Principal, device: Device) -> dict[str, Any]:
    rows = Command.objects.visible_to(principal).filter(device=device).order_by("-id")[:SHOWN]
    return {
        "device": device,
        "rows": rows,
        "may_cancel": principal.organization is not None
        and principal.may(Action.COMMAND_CANCEL),
    }


def commands(request: HttpRequest, pk: UUID) -> HttpResponse:
    """What the device was told to do."""
    principal, device = find(request, pk)
    context = {**header(principal, device, "commands"), **_commands(principal, device)}
    return page(request, "console/device/commands.html", context)


def commands_live(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Return the changing part of the list."""
    principal, device = find(request, pk)
    context = _commands(principal, device)
    return TemplateResponse(request, "console/device/commands_live.html", context)


def events(request: HttpRequest, pk: UUID) -> HttpResponse:
    """What happened to the device."""
    principal, device = find(request, pk)
    rows = DeviceEvent.objects.visible_to(principal).filter(device=device).order_by("-at")[:SHOWN]
    context = {**header(principal, device, "events"), "rows": rows, "shown": SHOWN}
    return page(request, "console/device/events.html", context)


def audit(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Who did what to the device."""
    principal, device = find(request, pk)
    allowed(request, Action.AUDIT_READ)
    entries = AuditEntry.objects.visible_to(principal).about("device", device.pk)
    rows = [
        {"entry": entry, "changes": changes(entry)} for entry in entries.order_by("-at")[:SHOWN]
    ]
    context = {
        **header(principal, device, "audit"),
        "rows": rows,
        "shown": SHOWN,
        "explorer": not principal.limited,
    }
    return page(request, "console/device/audit.html", context)

"""The page of a device: overview, heartbeats, commands, events, audit."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse

from accounts.policy import Action
from accounts.principals import Principal
from audit.models import AuditEntry
from commands.models import OPEN, Command
from common import clock
from console.views.base import allowed, page, visible
from devices.admin.head import device_head
from devices.models import Device, DeviceEvent, DeviceGroup, Heartbeat
from devices.selectors import metric_buckets
from governance.admin import changes

SHOWN = 100
CHARTED = ["cpu_percent", "mem_percent", "disk_percent", "temperature_c"]
# Hours shown, and the step of the averages in seconds.
DEFAULT_SPAN = 6
SPANS = {1: 30, 6: 120, 24: 600, 168: 3_600}


def find(request: HttpRequest, pk: UUID) -> tuple[Principal, Device]:
    """Return whoever asks and the device they may see, or 404."""
    principal = allowed(request, Action.DEVICE_READ)
    rows = Device.objects.select_related("state", "organization")
    return principal, visible(rows, principal, pk)


def overview(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The latest state, the last hours as a chart, and what the device is."""
    principal, device = find(request, pk)
    context = {
        **device_head(principal, device, "overview"),
        **_live(principal, device),
        "groups": DeviceGroup.objects.visible_to(principal).filter(devices=device).order_by("name"),
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
    """Return the averages of the last hours as columns: seconds since the epoch, then metrics.

    A step without a heartbeat is null, so that silence shows as a gap.
    """
    _principal, device = find(request, pk)
    asked = request.GET.get("hours", "")
    hours = next((offered for offered in SPANS if asked == str(offered)), DEFAULT_SPAN)
    interval = device.heartbeat_interval_s or device.organization.heartbeat_interval_s
    step = max(SPANS[hours], 2 * interval)
    now = clock.now()
    end = int(now.timestamp())
    first = (end - hours * 3_600) // step * step
    moments = range(first, end + 1, step)
    series: dict[str, list[float | None]] = {}
    for metric in CHARTED:
        buckets = metric_buckets(
            device=device,
            metric=metric,
            start=datetime.fromtimestamp(first, UTC),
            end=now,
            step=timedelta(seconds=step),
        )
        found = {int(one["at"].timestamp()): round(one["avg"], 1) for one in buckets}
        series[metric] = [found.get(moment) for moment in moments]
    return JsonResponse(
        {"at": list(moments), "from": first, "to": end, "step": step, "series": series}
    )


def heartbeats(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The newest heartbeats."""
    principal, device = find(request, pk)
    rows = Heartbeat.objects.visible_to(principal).filter(device=device).order_by("-at")[:SHOWN]
    context = {**device_head(principal, device, "heartbeats"), "rows": rows, "shown": SHOWN}
    return page(request, "console/device/heartbeats.html", context)


def _commands(principal: Principal, device: Device) -> dict[str, Any]:
    rows = Command.objects.visible_to(principal).filter(device=device).order_by("-id")[:SHOWN]
    return {
        "device": device,
        "rows": rows,
        "may_cancel": principal.organization is not None and principal.may(Action.COMMAND_CANCEL),
    }


def commands(request: HttpRequest, pk: UUID) -> HttpResponse:
    """What the device was told to do."""
    principal, device = find(request, pk)
    context = {**device_head(principal, device, "commands"), **_commands(principal, device)}
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
    context = {**device_head(principal, device, "events"), "rows": rows, "shown": SHOWN}
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
        **device_head(principal, device, "audit"),
        "rows": rows,
        "shown": SHOWN,
        "explorer": not principal.limited,
    }
    return page(request, "console/device/audit.html", context)

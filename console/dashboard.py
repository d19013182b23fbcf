"""The first page: how the fleet is, what waits, what failed, and whether the portal is well."""

from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from accounts.policy import Action
from accounts.principals import Principal
from commands.models import Command
from commands.selectors import recent_failures, status_counts
from common import clock
from devices.models import Device, ServicePulse
from devices.selectors import health_counts

SHOWN = 6
# A part of the portal that was silent for longer is taken for dead.
PULSE_PATIENCE = timedelta(seconds=30)
PARTS = {"gateway": "Takes heartbeats", "worker": "Runs the sweeps", "beat": "Starts the sweeps"}


def pulses(now: datetime) -> list[dict[str, Any]]:
    """Return the parts of the portal with the age of their last sign of life."""
    known = {pulse.name: pulse for pulse in ServicePulse.objects.filter(name__in=PARTS)}
    found = []
    for name, task in PARTS.items():
        pulse = known.get(name)
        age = (now - pulse.at).total_seconds() if pulse else None
        well = pulse is not None and now - pulse.at <= PULSE_PATIENCE
        found.append(
            {
                "name": name,
                "task": task,
                "age": age,
                "since": pulse.since if pulse else None,
                "state": "well" if well else "silent",
            }
        )
    return found


def _health_cards(principal: Principal) -> list[dict[str, Any]]:
    counts = health_counts(principal=principal)
    devices = reverse("admin:devices_device_changelist")
    order = ["healthy", "degraded", "failed", "offline", "unknown"]
    return [
        {
            "name": name,
            "count": counts[name],
            "href": f"{devices}?{urlencode({'health': name})}",
        }
        for name in order
    ]


def _today(principal: Principal, now: datetime) -> list[dict[str, Any]]:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    counts = status_counts(principal=principal, since=midnight)
    commands = reverse("admin:commands_command_changelist")
    return [
        {
            "name": value,
            "label": label,
            "count": counts[value],
            "href": f"{commands}?{urlencode({'status': value})}",
        }
        for value, label in Command.Status.choices
    ]


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Fill the page; the number of queries does not depend on the size of the fleet."""
    principal: Principal | None = getattr(request, "principal", None)
    if principal is None or not principal.may(Action.DEVICE_READ):
        return {**context, "title": "Dashboard"}
    now = clock.now()
    cards = _health_cards(principal)
    visible = Device.objects.visible_to(principal).select_related("state")
    # Keys begin with the time they were made, so the primary key finds the newest at once.
    pending = visible.filter(lifecycle=Device.Lifecycle.PENDING).order_by("-pk")
    newest = visible.filter(lifecycle=Device.Lifecycle.ACTIVE).order_by("-pk")
    waiting = list(pending[: SHOWN + 1])
    return {
        **context,
        "title": "Dashboard",
        "health": cards,
        "total": sum(card["count"] for card in cards),
        "pending": waiting[:SHOWN],
        "more_pending": len(waiting) > SHOWN,
        "newest": list(newest[:SHOWN]),
        "failures": recent_failures(principal=principal, now=now, limit=SHOWN),
        "today": _today(principal, now),
        "pulses": pulses(now),
        "may_enroll": principal.organization is not None
        and principal.may(Action.ENROLLMENT_TOKEN_MANAGE),
        "may_accept": principal.organization is not None and principal.may(Action.DEVICE_ACCEPT),
    }

"""The first page: how the fleet is, what waits, what failed, and whether the portal is well."""

from collections import Counter
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
from devices.models import Device, DriftReport, ServicePulse
from devices.selectors import health_counts
from releases.admin.rollout_page import parts
from releases.models import ENDED, LIVE, Rollout
from releases.selectors.progress import LEFT_OUT, counts_of

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


def _rollouts(principal: Principal) -> list[dict[str, Any]]:
    """Return rollouts that are on their way or were stopped, the newest first."""
    rows = Rollout.objects.visible_to(principal).filter(status__in=[*LIVE, Rollout.Status.HALTED])
    rollouts = list(
        rows.select_related("release").prefetch_related("stages").order_by("-pk")[:SHOWN]
    )
    counts = counts_of(rollouts)
    return [_rollout(one, counts.get(one.pk, Counter())) for one in rollouts]


def _rollout(rollout: Rollout, counts: Counter[str]) -> dict[str, Any]:
    opened = [stage for stage in rollout.stages.all() if stage.opened_at is not None]
    newest = max(opened, key=lambda stage: stage.position, default=None)
    return {
        "rollout": rollout,
        "stage": newest,
        "parts": parts(counts),
        "ended": sum(counts[state] for state in ENDED),
        "total": counts.total() - counts[LEFT_OUT],
    }


def _needs_care(principal: Principal) -> list[dict[str, Any]]:
    """Return how many devices have drifted or sit in safe mode; what is nowhere is not named."""
    counted = []
    if principal.may(Action.DRIFT_READ):
        drift = DriftReport.objects.visible_to(principal).filter(resolved_at=None).count()
        address = reverse("admin:devices_driftreport_changelist")
        counted.append({"label": "with drift", "count": drift, "href": address})
    safe = Device.objects.visible_to(principal).filter(safe_mode=True).count()
    address = f"{reverse('admin:devices_device_changelist')}?safe_mode=yes"
    counted.append({"label": "in safe mode", "count": safe, "href": address})
    return [one for one in counted if one["count"]]


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
        "rollouts": _rollouts(principal) if principal.may(Action.ROLLOUT_READ) else [],
        "needs_care": _needs_care(principal),
        "may_enroll": principal.organization is not None
        and principal.may(Action.ENROLLMENT_TOKEN_MANAGE),
        "may_accept": principal.organization is not None and principal.may(Action.DEVICE_ACCEPT),
    }

"""Failures somebody asks for, to test the whole chain. Nothing here acts unless switched on."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F

from audit import services as audit
from audit.services import Actor
from devices.models import Device, DeviceState
from releases.models import ChaosOrder, DeviceUpdate

# The steps of an update on a device, by the agent's names; what fails in one is of the class that
# is usual there.
STEPS = [
    *("offered", "downloading", "verifying", "unpacking", "validating"),
    *("stopping", "switching", "starting", "checking"),
]


@transaction.atomic
def chaos_order(
    *, device: Device, mode: str, at: str, times: int, actor: Actor, now: datetime
) -> ChaosOrder:
    """Have the device's next updates go wrong: `mode` at the step `at`, so many times.

    The device does so only when its own configuration allows it.
    """
    order, _ = ChaosOrder.objects.update_or_create(
        device=device,
        defaults={
            "organization_id": device.organization_id,
            "mode": mode,
            "at": at,
            "times": times,
            "update_id": None,
            "created_at": now,
        },
    )
    after = {"mode": mode, "at": at, "times": times}
    _record(device, "order", actor, after)
    return order


@transaction.atomic
def chaos_offline(*, device: Device, actor: Actor, now: datetime) -> None:
    """Take the device for offline until its next heartbeat."""
    DeviceState.objects.filter(device=device).update(health=Device.Health.OFFLINE, health_since=now)
    _record(device, "offline", actor, {})


def chaos_of(row: DeviceUpdate) -> dict[str, Any]:
    """Return what the device is asked to do wrong with this update; empty as a rule.

    The same update is told the same again; another one uses up one more time.
    """
    if not settings.CHAOS_HOOKS:
        return {}
    mine = ChaosOrder.objects.filter(device_id=row.device_id)
    order = mine.filter(update_id=row.pk).first()
    if order is None:
        taken = mine.filter(times__gt=0).update(times=F("times") - 1, update_id=row.pk)
        order = mine.get() if taken else None
    if order is None:
        return {}
    told = {"mode": order.mode}
    # What an agent fails at has a name of its own on the wire.
    return told | ({"fail_at": order.at} if order.mode == "fail" else {"at": order.at})


def _record(device: Device, verb: str, actor: Actor, after: dict[str, Any]) -> None:
    audit.record(
        actor=actor,
        organization=device.organization,
        action=f"chaos.{verb}",
        target=device,
        after=after,
    )

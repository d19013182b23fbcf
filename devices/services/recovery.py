"""Safe mode, quarantine and failures in a row, as facts about a device.

What follows from them for its commands and updates is composed in `releases.services.recovery`.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts.models import Organization
from audit import services as audit
from audit.services import Actor
from common import limits
from common.ids import uuid7
from devices.errors import LifecycleForbids, RecoveryConflict
from devices.models import Device, DeviceEvent, DeviceRecovery
from devices.services.events import event_add

# Devices a round of the sweep lets out at the most.
ROWS = 5_000


def recovery_lock(device: Device) -> DeviceRecovery:
    """Return the device's row, made when there is none; nobody else moves it in the meantime.

    The device's own row is locked first and its flags are read again, so that what is decided
    about both fits.
    """
    fresh = Device.objects.select_for_update(no_key=True).get(pk=device.pk)
    device.safe_mode, device.lifecycle = fresh.safe_mode, fresh.lifecycle
    recovery, _ = DeviceRecovery.objects.get_or_create(
        device=device, defaults={"organization_id": device.organization_id}
    )
    return recovery


@transaction.atomic
def safe_mode_enter(
    *, device: Device, reason: str, source: str, actor: Actor | None, now: datetime
) -> bool:
    """Put a device into safe mode; false when it is there already.

    `source` is operator, agent or automatic. A device that went there by itself has confirmed it.
    Checks that passed before say nothing any more. Raises LifecycleForbids for a device that is
    pending or retired.
    """
    recovery = recovery_lock(device)
    if device.lifecycle not in (Device.Lifecycle.ACTIVE, Device.Lifecycle.QUARANTINED):
        raise LifecycleForbids(
            f"{device.device_id} is {device.lifecycle}; only a device that works can be put into"
            " safe mode.",
            lifecycle=device.lifecycle,
        )
    by_itself = source == DeviceRecovery.Source.AGENT
    if device.safe_mode:
        if by_itself:
            safe_mode_confirm(device=device, now=now)
        return False
    _flag(device, safe_mode=True, now=now)
    recovery.safe_mode_since, recovery.exited_at = now, None
    recovery.source, recovery.reason = source, reason[: limits.LINE_CHARS]
    recovery.entered_by = (actor.label if actor else "")[: limits.LINE_CHARS]
    recovery.confirmed_at = now if by_itself else None
    recovery.checks_passed = None
    recovery.save()
    _note(device, f"Safe mode ({source}): {reason}", severity="warning", now=now)
    _record(
        device,
        "recovery.enter",
        actor=actor,
        before={"safe_mode": False},
        after={"safe_mode": True, "source": source, "reason": reason},
    )
    return True


def safe_mode_awaited(device: Device) -> bool:
    """Say whether the device was put into safe mode and has not said yet that it is in."""
    return DeviceRecovery.objects.filter(
        device=device, safe_mode_since__isnull=False, confirmed_at__isnull=True
    ).exists()


@transaction.atomic
def safe_mode_confirm(*, device: Device, now: datetime) -> bool:
    """Note that the device says it is in safe mode; false when that was known."""
    known = DeviceRecovery.objects.filter(
        device=device, safe_mode_since__isnull=False, confirmed_at__isnull=True
    )
    if not known.update(confirmed_at=now):
        return False
    _note(device, "Is in safe mode, by its own word", now=now)
    return True


@transaction.atomic
def safe_mode_again(
    *, device: Device, reason: str, source: str, actor: Actor | None, now: datetime
) -> None:
    """Let a safe mode that was about to end begin anew, for a new reason.

    What the device confirmed and checked before says nothing any more; a device that went back by
    itself has confirmed it. To be called for a device in safe mode, with its row locked.
    """
    by_itself = source == DeviceRecovery.Source.AGENT
    DeviceRecovery.objects.filter(device=device).update(
        safe_mode_since=now,
        source=source,
        reason=reason[: limits.LINE_CHARS],
        entered_by=(actor.label if actor else "")[: limits.LINE_CHARS],
        confirmed_at=now if by_itself else None,
        checks_passed=None,
    )
    _note(device, f"Safe mode goes on ({source}): {reason}", severity="warning", now=now)
    _record(
        device,
        "recovery.enter",
        actor=actor,
        before={"safe_mode": True},
        after={"safe_mode": True, "source": source, "reason": reason},
    )


@transaction.atomic
def safe_mode_exit(*, device: Device, reason: str, actor: Actor | None, now: datetime) -> None:
    """Let a device out of safe mode; its failures in a row are forgotten.

    Raises RecoveryConflict when it is not in safe mode.
    """
    recovery = recovery_lock(device)
    if not device.safe_mode:
        raise RecoveryConflict(f"{device.device_id} is not in safe mode; there is nothing to end.")
    _flag(device, safe_mode=False, now=now)
    recovery.safe_mode_since, recovery.confirmed_at = None, None
    recovery.exited_at, recovery.failures = now, 0
    recovery.save()
    _note(device, f"Safe mode ended: {reason}", now=now)
    _record(
        device,
        "recovery.exit",
        actor=actor,
        before={"safe_mode": True},
        after={"safe_mode": False, "reason": reason},
    )


@transaction.atomic
def device_quarantine(
    *, device: Device, until: datetime, reason: str, actor: Actor | None, now: datetime
) -> None:
    """Keep updates away from a device until a moment; for one in quarantine it is a new moment.

    Raises LifecycleForbids for a device that is pending or retired.
    """
    recovery = recovery_lock(device)
    was = device.lifecycle
    _move(device, to=Device.Lifecycle.QUARANTINED, now=now)
    before = {"lifecycle": was, "until": _text(recovery.quarantined_until)}
    recovery.quarantined_until = until
    recovery.save(update_fields=["quarantined_until"])
    _note(
        device,
        f"Quarantine until {until:%Y-%m-%d %H:%M} UTC: {reason}",
        severity="warning",
        now=now,
    )
    _record(
        device,
        "recovery.quarantine",
        actor=actor,
        before=before,
        after={"lifecycle": device.lifecycle, "until": _text(until), "reason": reason},
    )


@transaction.atomic
def device_quarantine_end(
    *, device: Device, reason: str, actor: Actor | None, now: datetime
) -> None:
    """Let a device out of quarantine before its time. Raises RecoveryConflict when it is not in."""
    recovery = recovery_lock(device)
    if device.lifecycle != Device.Lifecycle.QUARANTINED:
        raise RecoveryConflict(
            f"{device.device_id} is {device.lifecycle} and not in quarantine; there is nothing to"
            " end."
        )
    _move(device, to=Device.Lifecycle.ACTIVE, now=now)
    before = {"lifecycle": "quarantined", "until": _text(recovery.quarantined_until)}
    recovery.quarantined_until = None
    recovery.save(update_fields=["quarantined_until"])
    _note(device, f"Quarantine ended: {reason}", now=now)
    _record(
        device,
        "recovery.quarantine_end",
        actor=actor,
        before=before,
        after={"lifecycle": device.lifecycle, "reason": reason},
    )


@transaction.atomic
def quarantines_end(*, now: datetime) -> int:
    """Let out the devices whose time in quarantine is over; return how many.

    Safe mode stays where it is: a redeploy or an operator ends it. One entry per organisation.
    """
    due = DeviceRecovery.objects.select_for_update(skip_locked=True, of=("self",))
    over = list(due.filter(quarantined_until__lte=now).order_by("quarantined_until")[:ROWS])
    if not over:
        return 0
    keys = [recovery.pk for recovery in over]
    DeviceRecovery.objects.filter(pk__in=keys).update(quarantined_until=None)
    inside = Device.objects.filter(pk__in=keys, lifecycle=Device.Lifecycle.QUARANTINED)
    devices = list(inside.select_for_update(no_key=True).order_by("pk"))
    Device.objects.filter(pk__in=[device.pk for device in devices]).update(
        lifecycle=Device.Lifecycle.ACTIVE, updated_at=now
    )
    DeviceEvent.objects.bulk_create(
        [
            DeviceEvent(
                id=uuid7(),
                organization_id=device.organization_id,
                device=device,
                at=now,
                kind="recovery",
                severity=DeviceEvent.Severity.INFO,
                message="Quarantine ended: its time is over",
            )
            for device in devices
        ],
        batch_size=1_000,
    )
    _record_ends(devices)
    return len(devices)


def _record_ends(devices: list[Device]) -> None:
    by_organization: dict[UUID, list[Device]] = defaultdict(list)
    for device in devices:
        by_organization[device.organization_id].append(device)
    # In one order: sweeps that write to the same chains wait for each other.
    for organization in Organization.objects.filter(pk__in=by_organization).order_by("pk"):
        let_out = by_organization[organization.pk]
        audit.record(
            actor=None,
            organization=organization,
            action="recovery.quarantine_end",
            target=let_out[0] if len(let_out) == 1 else None,
            after={"count": len(let_out), "devices": [one.device_id for one in let_out[:50]]},
        )


@transaction.atomic
def update_failure_count(*, device: Device, reason: str, now: datetime) -> bool:
    """Count one more failed update in a row; true when that put the device aside.

    From `limits.UPDATE_FAILURES_MAX` on it goes into safe mode and, for
    `limits.QUARANTINE_MINUTES`, into quarantine. Whether its owner allows updates stays as it is.
    """
    recovery = recovery_lock(device)
    recovery.failures += 1
    recovery.last_failure_at = now
    recovery.save(update_fields=["failures", "last_failure_at"])
    works = device.lifecycle in (Device.Lifecycle.ACTIVE, Device.Lifecycle.QUARANTINED)
    if recovery.failures < limits.UPDATE_FAILURES_MAX or not works:
        return False
    why = f"{recovery.failures} updates in a row failed: {reason}"[: limits.LINE_CHARS]
    safe_mode_enter(
        device=device, reason=why, source=DeviceRecovery.Source.AUTOMATIC, actor=None, now=now
    )
    until = now + timedelta(minutes=limits.QUARANTINE_MINUTES)
    device_quarantine(device=device, until=until, reason=why, actor=None, now=now)
    return True


def update_failures_forget(*, devices: Iterable[UUID]) -> None:
    """Forget the failures in a row of devices, named by key, on which an update has worked."""
    DeviceRecovery.objects.filter(device__in=list(devices), failures__gt=0).update(failures=0)


def _flag(device: Device, *, safe_mode: bool, now: datetime) -> None:
    Device.objects.filter(pk=device.pk).update(safe_mode=safe_mode, updated_at=now)
    device.safe_mode = safe_mode


def _move(device: Device, *, to: str, now: datetime) -> None:
    """Move between active and quarantined; the row count says whether the device is in either."""
    works = [Device.Lifecycle.ACTIVE, Device.Lifecycle.QUARANTINED]
    moved = Device.objects.filter(pk=device.pk, lifecycle__in=works)
    if not moved.update(lifecycle=to, updated_at=now):
        raise LifecycleForbids(
            f"{device.device_id} is {device.lifecycle}; only a device that works can be put into"
            " quarantine.",
            lifecycle=device.lifecycle,
        )
    device.lifecycle = to


def _note(device: Device, message: str, *, now: datetime, severity: str = "info") -> None:
    event_add(device=device, kind="recovery", severity=severity, message=message, now=now)


def _record(device: Device, action: str, *, actor: Actor | None, **snapshots: Any) -> None:
    audit.record(
        actor=actor, organization=device.organization, action=action, target=device, **snapshots
    )


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None

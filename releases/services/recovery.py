"""Into safe mode and out of it: the flag, what the device is told, and the updates that wait."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q

from audit.services import Actor
from commands.errors import DeviceNotCommandable, QueueFull
from commands.models import Command
from commands.options import PRIORITIES, Options
from commands.services import command_cancel, command_queue
from common import limits
from common.db import only_one_runs
from devices.models import Device, DeviceRecovery
from devices.services import recovery as facts
from releases.kinds import SAFE_MODE
from releases.models import DeviceUpdate
from releases.services.overtaking import claim_overtake
from releases.services.sweeping import RECOVERY, Sweep
from releases.services.waiting import updates_take_back

# Devices a round of the sweep settles at the most.
ROWS = 500
_FREE = "The device was let out of safe mode."
# How long a device that could not be told that it was let out is told again.
_LATELY = timedelta(days=7)
# It waits for a device that is away: the mode holds until somebody ends it.
_OPTIONS = Options(priority=PRIORITIES["urgent"], expires_in_s=limits.COMMAND_TTL_MAX_S)


@transaction.atomic
def recovery_enter(
    *, device: Device, reason: str, source: str, actor: Actor | None, now: datetime
) -> bool:
    """Put a device into safe mode, tell it, and take back the updates it has not begun.

    A claim that is not proved yet has failed: in safe mode nothing proves it. False when the device
    is there already, unless it was about to leave by a claimed redeploy. A device that went by
    itself is told nothing. One whose queue is full is told by the sweep. Raises LifecycleForbids.
    """
    is_awaited = facts.safe_mode_awaited(device)
    entered = facts.safe_mode_enter(
        device=device, reason=reason, source=source, actor=actor, now=now
    )
    by_itself = source == DeviceRecovery.Source.AGENT
    overtaken = claim_overtake(
        device=device,
        reason=f"The device went into safe mode before it was proved: {reason}",
        actor=actor,
        now=now,
        is_ill=by_itself and not is_awaited,
    )
    if not entered:
        if overtaken is None or overtaken.kind != DeviceUpdate.Kind.REDEPLOY:
            return False
        facts.safe_mode_again(device=device, reason=reason, source=source, actor=actor, now=now)
    updates_take_back(device=device, reason="The device went into safe mode.", now=now)
    _tell(device, enter=True, reason=reason, by=source, actor=actor, now=now)
    return True


@transaction.atomic
def recovery_exit(*, device: Device, reason: str, actor: Actor | None, now: datetime) -> None:
    """Let a device out of safe mode and tell it. Raises RecoveryConflict when it is not in."""
    facts.safe_mode_exit(device=device, reason=reason, actor=actor, now=now)
    _tell(device, enter=False, reason=reason, by="operator", actor=actor, now=now)


@transaction.atomic
def quarantine_begin(
    *, device: Device, until: datetime, reason: str, actor: Actor | None, now: datetime
) -> None:
    """Keep updates away until a moment, those that wait for the device too."""
    facts.device_quarantine(device=device, until=until, reason=reason, actor=actor, now=now)
    updates_take_back(device=device, reason="The device went into quarantine.", now=now)


@transaction.atomic
def recovery_failure_count(*, device: Device, reason: str, now: datetime) -> bool:
    """Count one more failed update in a row; true when that put the device aside.

    At `limits.UPDATE_FAILURES_MAX` it goes into safe mode and into quarantine, is told so, and
    what waits of its updates is taken back.
    """
    before = facts.recovery_lock(device).safe_mode_since
    if not facts.update_failure_count(device=device, reason=reason, now=now):
        return False
    updates_take_back(device=device, reason="The device was put aside.", now=now)
    if before is None:
        _tell(device, enter=True, reason=reason, by="automatic", actor=None, now=now)
    return True


@transaction.atomic
def recovery_update_ended(*, update: DeviceUpdate, now: datetime) -> bool:
    """Let a device out of safe mode when its redeploy is verified; true when it was let out.

    Whoever ends updates calls this; the sweep finds what nobody called it for.
    """
    is_proof = (
        update.kind == DeviceUpdate.Kind.REDEPLOY and update.status == DeviceUpdate.Status.VERIFIED
    )
    if not is_proof:
        return False
    device = Device.objects.select_related("organization").get(pk=update.device_id)
    since = facts.recovery_lock(device).safe_mode_since
    if not device.safe_mode or (since is not None and update.scheduled_at < since):
        return False
    reason = f"{update.to_version} was deployed again and verified"
    recovery_exit(device=device, reason=reason, actor=RECOVERY, now=now)
    return True


@transaction.atomic
def recovery_redeploy_failed(*, update: DeviceUpdate, now: datetime) -> None:
    """Bring a device back to where it was before a redeploy that did not hold.

    One that claimed it and waited for the proof with its application running is told to go back
    into safe mode. Any of them is kept from updates by a quarantine, as before.
    """
    device = Device.objects.select_related("organization").get(pk=update.device_id)
    since = facts.recovery_lock(device).safe_mode_since
    reason = f"Redeploy of {update.to_version} did not hold: {update.error}"[: limits.LINE_CHARS]
    is_of_this_mode = since is not None and update.scheduled_at >= since
    if device.safe_mode and is_of_this_mode and update.claimed_at is not None:
        source = DeviceRecovery.Source.AUTOMATIC
        facts.safe_mode_again(device=device, reason=reason, source=source, actor=None, now=now)
        _tell(device, enter=True, reason=reason, by=source, actor=None, now=now)
    if device.lifecycle == Device.Lifecycle.ACTIVE:
        until = now + timedelta(minutes=limits.QUARANTINE_MINUTES)
        quarantine_begin(device=device, until=until, reason=reason, actor=None, now=now)


@transaction.atomic
def recoveries_settle(*, now: datetime) -> dict[str, int]:
    """Do what nobody did: end safe modes that are proven over, tell devices that do not know.

    Returns how many were let out and how many were told.
    """
    done = {"let_out": 0, "told": 0}
    if not only_one_runs("releases.recoveries_settle"):
        return done
    for update in _proofs():
        done["let_out"] += recovery_update_ended(update=update, now=now)
    for recovery in _untold():
        device = recovery.device
        updates_take_back(device=device, reason="The device is in safe mode.", now=now)
        done["told"] += _tell(
            device, enter=True, reason=recovery.reason, by=recovery.source, actor=None, now=now
        )
    for recovery in _unfreed(now):
        done["told"] += _tell(
            recovery.device, enter=False, reason=_FREE, by="sweep", actor=None, now=now
        )
    return done


def _proofs() -> list[DeviceUpdate]:
    """Return verified redeploys of devices that are in safe mode since before them."""
    redeploys = DeviceUpdate.objects.filter(
        kind=DeviceUpdate.Kind.REDEPLOY,
        status=DeviceUpdate.Status.VERIFIED,
        device__safe_mode=True,
        device__recovery__safe_mode_since__lte=F("scheduled_at"),
    )
    return list(redeploys.order_by("device_id", "-id").distinct("device_id")[:ROWS])


def _untold() -> list[DeviceRecovery]:
    """Return devices in safe mode that have not said so and were never asked to go there."""
    asked = Command.objects.filter(
        device=OuterRef("pk"), kind=SAFE_MODE, created_at__gte=OuterRef("safe_mode_since")
    )
    waits = DeviceRecovery.objects.filter(
        safe_mode_since__isnull=False, confirmed_at__isnull=True, device__safe_mode=True
    ).exclude(source=DeviceRecovery.Source.AGENT)
    rows = waits.select_related("device__organization").filter(~Exists(asked))
    return list(rows.order_by("safe_mode_since")[:ROWS])


def _unfreed(now: datetime) -> list[DeviceRecovery]:
    """Return devices that were let out lately, never told so, and not heard of since."""
    told = Command.objects.filter(
        device=OuterRef("pk"),
        kind=SAFE_MODE,
        payload__enter=False,
        created_at__gte=OuterRef("exited_at"),
    )
    silent = Q(diagnostics_at__isnull=True) | Q(diagnostics_at__lt=F("exited_at"))
    let_out = DeviceRecovery.objects.filter(silent, exited_at__gt=now - _LATELY)
    rows = let_out.filter(~Exists(told), device__safe_mode=False)
    return list(rows.select_related("device__organization").order_by("exited_at")[:ROWS])


def _tell(
    device: Device, *, enter: bool, reason: str, by: str, actor: Actor | None, now: datetime
) -> bool:
    """Queue the command that changes the device's mode; what says the contrary and waits ends."""
    teller = actor or RECOVERY
    source = "sweep" if isinstance(teller, Sweep) else "api"
    waiting = Command.objects.filter(device=device, kind=SAFE_MODE, status="queued")
    for command in waiting:
        command_cancel(command=command, actor=teller, now=now, reason="Overtaken.", source=source)
    if enter and by == DeviceRecovery.Source.AGENT:
        return False
    try:
        command_queue(
            device=device,
            kind=SAFE_MODE,
            payload={"enter": enter, "reason": reason[: limits.LINE_CHARS]},
            options=_OPTIONS,
            actor=teller,
            now=now,
            source=source,
        )
    except (QueueFull, DeviceNotCommandable):
        # The sweep tries again.
        return False
    return True


def is_leaving(device: Device) -> bool:
    """Say whether the device was told to leave safe mode and has not answered yet."""
    orders = Command.objects.filter(device=device, kind=SAFE_MODE, payload__enter=False)
    return orders.open().exists()

"""Into safe mode and out of it: the flag, what the device is told, and the updates that wait."""

from datetime import datetime

from django.db import transaction
from django.db.models import Exists, F, OuterRef

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
from releases.services.sweeping import RECOVERY, Sweep
from releases.services.waiting import updates_take_back

# Devices a round of the sweep settles at the most.
ROWS = 500
# It waits for a device that is away: the mode holds until somebody ends it.
_OPTIONS = Options(priority=PRIORITIES["urgent"], expires_in_s=limits.COMMAND_TTL_MAX_S)


@transaction.atomic
def recovery_enter(
    *, device: Device, reason: str, source: str, actor: Actor | None, now: datetime
) -> bool:
    """Put a device into safe mode, tell it, and take back the updates it has not begun.

    False when it is there already. A device that went by itself is told nothing. One whose queue
    is full learns it from its configuration. Raises LifecycleForbids.
    """
    if not facts.safe_mode_enter(device=device, reason=reason, source=source, actor=actor, now=now):
        return False
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
        # Its configuration says the same, and the sweep tries again.
        return False
    return True


def is_leaving(device: Device) -> bool:
    """Say whether the device was told to leave safe mode and has not answered yet."""
    orders = Command.objects.filter(device=device, kind=SAFE_MODE, payload__enter=False)
    return orders.open().exists()

"""The `update` command: an update somebody orders for a device, past all rollouts.

The command itself makes nothing. A device that holds it asks for its update, naming the version,
and the update is made then: an order that never arrives leaves nothing behind.

`force` is carried out while updates of the device are switched off, and installs a version that
runs already once more. It never goes past maintenance, safe mode, quarantine, a version lock, the
role, or the signatures.
"""

from datetime import datetime

from django.db import transaction

from commands.models import Command
from devices.models import Device, DeviceState
from devices.services.recovery import recovery_lock
from releases.errors import UpdateRefused
from releases.kinds import UPDATE
from releases.models import DeviceUpdate, Release
from releases.services.redeploy import artifact_for, update_schedule
from releases.services.waiting import open_update


def update_for_command(*, device: Device, now: datetime) -> DeviceUpdate | None:
    """Return the scheduled update of the `update` command the device holds, made now.

    None when it holds none, has an open update, or had one for this attempt already. Raises
    UpdateRefused with what keeps the update away: the device ends the command by it.
    """
    command = held_command(device)
    # Nearly always there is none, and asking is all it costs.
    return None if command is None else _ordered(device, command, now=now)


@transaction.atomic
def _ordered(device: Device, command: Command, *, now: datetime) -> DeviceUpdate | None:
    recovery_lock(device)
    if open_update(device) is not None or _was_made(command):
        return None
    if refusal := refusal_of(device=device, command=command, now=now):
        raise UpdateRefused(refusal)
    release = _release(command)
    artifact = artifact_for(device, release) if release else None
    if release is None or artifact is None:
        return None
    return update_schedule(
        device=device,
        release=release,
        artifact=artifact,
        kind=DeviceUpdate.Kind.COMMAND,
        reason=order_of(command),
        created_by=command.created_by,
        now=now,
    )


def held_command(device: Device) -> Command | None:
    """Return the `update` command the device has fetched and not ended; there is at most one."""
    held = Command.objects.filter(device=device, kind=UPDATE, status__in=["delivered", "running"])
    return held.order_by("-sequence").first()


def order_of(command: Command) -> str:
    """Return how an update names the attempt of the command it was made for."""
    return f"Command {command.pk}, attempt {command.attempt}"


def refusal_of(*, device: Device, command: Command, now: datetime) -> str:
    """Return what keeps the ordered update away from the device; empty when nothing does."""
    release = _release(command)
    if release is None:
        version = command.payload.get("version", "")
        return f"There is no published release “{version}”. Publish it first, or name another one."
    return _device_refuses(device, release, now=now) or _switched_off(device, release, command)


def _device_refuses(device: Device, release: Release, *, now: datetime) -> str:
    locked_to = device.locked_to(now)
    if device.lifecycle != Device.Lifecycle.ACTIVE:
        return f"The device is {device.lifecycle}."
    if device.safe_mode:
        return "The device is in safe mode; deploy by recovery."
    if device.maintenance_mode:
        return "The device is in maintenance."
    if locked_to and locked_to != release.version:
        return f"The device is locked to {locked_to} by {device.version_lock_owner}."
    if release.roles and device.role not in release.roles:
        return f"The release is for {', '.join(release.roles)}."
    return "" if artifact_for(device, release) else f"There is no bundle for “{device.role}”."


def _switched_off(device: Device, release: Release, command: Command) -> str:
    """Return what an order with `force` goes past."""
    if command.payload.get("force"):
        return ""
    if not device.update_enabled:
        return "Updates of the device are switched off."
    if DeviceState.objects.filter(device=device, version=release.version).exists():
        return "The device runs that version."
    return ""


def _release(command: Command) -> Release | None:
    releases = Release.objects.filter(organization_id=command.organization_id).published()
    return releases.filter(version=command.payload.get("version", "")).first()


def _was_made(command: Command) -> bool:
    made = DeviceUpdate.objects.filter(device_id=command.device_id, reason=order_of(command))
    return made.filter(kind=DeviceUpdate.Kind.COMMAND).exists()

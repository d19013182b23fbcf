"""What operators change about devices."""

from datetime import datetime
from typing import Any

from django.db import transaction

from audit import services as audit
from audit.services import Actor
from common.errors import InvalidInput
from devices.errors import LifecycleForbids
from devices.models import Device, DeviceEvent, DeviceGroup, DeviceState, GroupMember
from devices.services.events import event_add
from devices.services.tokens import tokens_revoke

# What a device says about itself when it registers again.
IDENTITY = [
    "name", "hostname", "platform", "arch", "ip_address", "serial", "hardware_profile", "metadata",
]  # fmt: skip

# What a version lock is made of, and each part's value when there is none.
_LOCK: dict[str, Any] = {
    "version_lock": "",
    "version_lock_owner": "",
    "version_lock_reason": "",
    "version_lock_expires_at": None,
}


def _json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _write(device: Device, changes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Save the named columns only; return what they were and are, as JSON values."""
    locked = Device.objects.select_for_update().get(pk=device.pk)
    before, after = audit.changed({name: getattr(locked, name) for name in changes}, changes)
    for name, value in changes.items():
        setattr(device, name, value)
    if after:
        device.save(update_fields=[*after, "updated_at"])
    return (
        {name: _json(value) for name, value in before.items()},
        {name: _json(value) for name, value in after.items()},
    )


@transaction.atomic
def device_report_identity(*, device: Device, fields: dict[str, Any], now: datetime) -> Device:
    """Write what a known device says about itself; never its place in the rollout."""
    changes = {name: value for name, value in fields.items() if name in IDENTITY and value}
    before, after = _write(device, changes)
    if after:
        event_add(device=device, kind="identity", message="Described itself anew", now=now)
        audit.record(
            actor=None,
            organization=device.organization,
            action="device.report_identity",
            target=device,
            before=before,
            after=after,
        )
    return device


@transaction.atomic
def device_update(
    *,
    device: Device,
    changes: dict[str, Any],
    actor: Actor,
    now: datetime,
    groups: list[DeviceGroup] | None = None,
) -> Device:
    """Write the named fields of a device and, where given, the whole set of its groups.

    A version lock has an owner (whoever sets it, unless named), a reason, and may run out. Raises
    LifecycleForbids for a retired device, InvalidInput for a lock that is not complete.
    """
    if device.is_retired:
        raise LifecycleForbids(f"{device.device_id} is retired. Enrol it again to change it.")
    changes = _with_lock(device, changes, actor=actor, now=now)
    before, after = _write(device, changes)
    if groups is not None:
        was = sorted(device.groups.values_list("name", flat=True))
        device_groups_set(device=device, groups=groups)
        names = sorted(group.name for group in groups)
        if names != was:
            before["groups"], after["groups"] = was, names
    if after:
        audit.record(
            actor=actor,
            organization=device.organization,
            action="device.update",
            target=device,
            before=before,
            after=after,
        )
        message = f"Changed by {actor.label}: {', '.join(sorted(after))}"
        event_add(device=device, kind="update", message=message, now=now)
    return device


def _with_lock(
    device: Device, changes: dict[str, Any], *, actor: Actor, now: datetime
) -> dict[str, Any]:
    """Complete what is written of a version lock; what is lifted leaves nothing behind.

    A lock that has run out counts as none: a new one takes nothing over from it.
    """
    if not changes.keys() & _LOCK.keys():
        return changes
    old = {name: getattr(device, name) for name in _LOCK} if device.locked_to(now) else _LOCK
    lock = {name: changes.get(name, old[name]) for name in _LOCK}
    if not lock["version_lock"]:
        return {**changes, **_LOCK}
    if not lock["version_lock_reason"].strip():
        raise InvalidInput(
            "A version lock needs a reason; others have to know when it can be lifted.",
            errors={"version_lock_reason": ["Say why."]},
        )
    expires = lock["version_lock_expires_at"]
    if expires is not None and expires <= now:
        raise InvalidInput(
            "A version lock that ends in the past locks nothing. Name a later moment, or none.",
            errors={"version_lock_expires_at": ["Has to lie ahead."]},
        )
    if not changes.get("version_lock_owner") and lock["version_lock"] != old["version_lock"]:
        lock["version_lock_owner"] = actor.label[:120]
    return {**changes, **lock}


def device_groups_set(*, device: Device, groups: list[DeviceGroup]) -> None:
    """Make `groups` the groups of the device; each must be of the same organisation."""
    GroupMember.objects.filter(device=device).exclude(group__in=groups).delete()
    GroupMember.objects.bulk_create(
        [
            GroupMember(organization_id=device.organization_id, device=device, group=group)
            for group in groups
        ],
        ignore_conflicts=True,
    )


@transaction.atomic
def device_status_override(
    *,
    device: Device,
    status: str,
    reason: str,
    until: datetime | None,
    actor: Actor,
    now: datetime,
) -> Device:
    """Fix the health a device is shown with, until a moment or until lifted.

    An empty `status` lifts it: the next heartbeat or sweep decides again.
    """
    changes = {
        "status_override": status,
        "status_override_reason": reason if status else "",
        "status_override_until": until if status else None,
    }
    before, after = _write(device, changes)
    if not after:
        return device
    if status:
        DeviceState.objects.filter(device=device).exclude(health=status).update(
            health=status, health_since=now
        )
    message = f"Status set to {status}: {reason}" if status else "Status override lifted"
    event_add(device=device, kind="status_override", message=message, now=now)
    audit.record(
        actor=actor,
        organization=device.organization,
        action="device.status_override",
        target=device,
        before=before,
        after=after,
    )
    return device


def _move(
    *,
    device: Device,
    to: str,
    allowed_from: list[str],
    actor: Actor,
    now: datetime,
    action: str,
    reason: str = "",
) -> Device:
    """Move a device's lifecycle by conditional UPDATE; the row count says who won."""
    old = device.lifecycle
    moved = Device.objects.filter(pk=device.pk, lifecycle__in=allowed_from).update(
        lifecycle=to,
        retired_at=now if to == Device.Lifecycle.RETIRED else None,
        updated_at=now,
    )
    if not moved:
        device.refresh_from_db(fields=["lifecycle"])
        raise LifecycleForbids(
            f"{device.device_id} is {device.lifecycle}; this needs it to be"
            f" {' or '.join(allowed_from)}.",
            lifecycle=device.lifecycle,
        )
    device.refresh_from_db(fields=["lifecycle", "retired_at", "updated_at"])
    event_add(
        device=device,
        kind="lifecycle",
        severity=DeviceEvent.Severity.INFO,
        message=f"{old} → {to} by {actor.label}" + (f": {reason}" if reason else ""),
        now=now,
    )
    audit.record(
        actor=actor,
        organization=device.organization,
        action=action,
        target=device,
        before={"lifecycle": old},
        after={"lifecycle": to, **({"reason": reason} if reason else {})},
    )
    return device


@transaction.atomic
def device_accept(*, device: Device, actor: Actor, now: datetime) -> Device:
    """Let a pending device in. Raises LifecycleForbids when it is not pending."""
    return _move(
        device=device,
        to=Device.Lifecycle.ACTIVE,
        allowed_from=[Device.Lifecycle.PENDING],
        actor=actor,
        now=now,
        action="device.accept",
    )


@transaction.atomic
def device_reject(*, device: Device, actor: Actor, now: datetime, reason: str = "") -> Device:
    """Turn a pending device away; its token ends, and its id cannot knock again."""
    _move(
        device=device,
        to=Device.Lifecycle.RETIRED,
        allowed_from=[Device.Lifecycle.PENDING],
        actor=actor,
        now=now,
        action="device.reject",
        reason=reason,
    )
    tokens_revoke(device=device, now=now)
    return device


@transaction.atomic
def device_retire(*, device: Device, actor: Actor, now: datetime, reason: str = "") -> Device:
    """Decommission a device: its tokens end at once, its history stays."""
    _move(
        device=device,
        to=Device.Lifecycle.RETIRED,
        allowed_from=[
            Device.Lifecycle.PENDING,
            Device.Lifecycle.ACTIVE,
            Device.Lifecycle.QUARANTINED,
        ],
        actor=actor,
        now=now,
        action="device.retire",
        reason=reason,
    )
    tokens_revoke(device=device, now=now)
    return device


@transaction.atomic
def devices_tag(
    *, devices: list[Device], add: list[str], remove: list[str], actor: Actor, now: datetime
) -> int:
    """Add and remove tags on many devices; return how many changed."""
    changed = 0
    for device in devices:
        tags = sorted((set(device.tags) | set(add)) - set(remove))
        if tags != device.tags:
            device_update(device=device, changes={"tags": tags}, actor=actor, now=now)
            changed += 1
    return changed

"""The queue: commands are queued, reported on, cancelled, expired. Claims are the gateway's."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import IO, Any
from uuid import UUID

from django.core.files.base import File
from django.db import transaction
from django.db.models import QuerySet

from accounts.models import Organization
from audit import services as audit
from audit.services import Actor
from commands import registry
from commands.errors import (
    BundleRefused,
    CommandAlreadyEnded,
    CommandNotRetryable,
    DeviceNotCommandable,
    QueueFull,
    TransitionRefused,
)
from commands.models import ENDED, TRANSITIONS, Command, SupportBundle
from common import limits
from common.errors import DomainError
from common.ids import uuid7
from devices.models import Device, DeviceEvent
from devices.services.events import event_add
from devices.services.registry import device_update

# Keys of fleet.conf the portal keeps too.
ADOPTED = {
    "HEARTBEAT_INTERVAL": "heartbeat_interval_s",
    "COMMAND_POLL_INTERVAL": "command_poll_interval_s",
}
_COMMANDABLE = [Device.Lifecycle.ACTIVE, Device.Lifecycle.QUARANTINED]


@transaction.atomic
def command_queue(
    *,
    device: Device,
    kind: str,
    payload: dict[str, Any],
    ttl: timedelta,
    actor: Actor,
    now: datetime,
    priority: int = 0,
) -> Command:
    """Queue one command for one device.

    `ttl` is how long it may wait to be begun: at `now + ttl` it expires. Larger `priority` goes
    first. Raises UnknownKind, PayloadRefused, DeviceNotCommandable or QueueFull.
    """
    registry.validate(name=kind, payload=payload)
    if device.lifecycle not in _COMMANDABLE:
        raise DeviceNotCommandable(
            f"{device.device_id} is {device.lifecycle}: only active devices take commands."
        )
    if Command.objects.filter(device=device).open().count() >= limits.COMMANDS_PER_DEVICE:
        raise QueueFull(
            f"{device.device_id} already holds {limits.COMMANDS_PER_DEVICE} open commands."
            " Cancel some or wait."
        )
    command = Command.objects.create(
        organization_id=device.organization_id,
        device=device,
        kind=kind,
        payload=payload,
        priority=priority,
        created_at=now,
        created_by=actor.label[:255],
        expires_at=now + ttl,
    )
    audit.record(
        actor=actor,
        organization=device.organization,
        action="command.queue",
        target=command,
        after={"device": device.device_id, "type": kind, "payload": payload},
    )
    return command


@dataclass(frozen=True)
class Queued:
    """What became of one device of a bulk act: a command, or the reason for none."""

    device: Device
    command: Command | None
    refusal: DomainError | None = None


def commands_queue(
    *,
    devices: Iterable[Device],
    kind: str,
    payload: dict[str, Any],
    ttl: timedelta,
    actor: Actor,
    now: datetime,
    priority: int = 0,
) -> list[Queued]:
    """Queue the same command for many devices; each succeeds or is refused by itself."""
    outcome = []
    for device in devices:
        try:
            command = command_queue(
                device=device,
                kind=kind,
                payload=payload,
                ttl=ttl,
                actor=actor,
                now=now,
                priority=priority,
            )
            outcome.append(Queued(device=device, command=command))
        except DomainError as refusal:
            outcome.append(Queued(device=device, command=None, refusal=refusal))
    return outcome


@transaction.atomic
def command_cancel(*, command: Command, actor: Actor, now: datetime) -> Command:
    """Cancel a command that has not ended.

    One that is running is cancelled here; whether the device can still stop is its own affair.
    Raises CommandAlreadyEnded when the device or a sweep was faster.
    """
    moved = (
        Command.objects.filter(pk=command.pk)
        .open()
        .update(status=Command.Status.CANCELLED, finished_at=now, lease_expires_at=None)
    )
    command.refresh_from_db()
    if not moved:
        raise CommandAlreadyEnded(
            f"Command {command.pk} has already {command.status}. Queue a new one if it is needed.",
            command_status=command.status,
        )
    audit.record(
        actor=actor, organization=command.organization, action="command.cancel", target=command
    )
    return command


def command_retry(*, command: Command, actor: Actor, now: datetime) -> Command:
    """Queue a new command like one that ended badly, with as much time as that one had.

    Raises CommandNotRetryable for one that is open or succeeded.
    """
    if command.is_open or command.status == Command.Status.SUCCEEDED:
        raise CommandNotRetryable(
            f"Command {command.pk} is {command.status}; only one that ended badly is tried again."
        )
    return command_queue(
        device=command.device,
        kind=command.kind,
        payload=command.payload,
        priority=command.priority,
        ttl=command.expires_at - command.created_at,
        actor=actor,
        now=now,
    )


@dataclass(frozen=True)
class Report:
    """What a device says about a command it was handed."""

    status: str
    attempt: int
    result: dict[str, Any] | None = None
    error: str = ""
    output: str = ""


@transaction.atomic
def command_report(*, command: Command, report: Report, actor: Actor, now: datetime) -> Command:
    """Write what the device says of an attempt.

    The same report twice is accepted and changes nothing; one of another attempt, or one that
    the command's state does not allow, raises TransitionRefused with the present state.
    """
    allowed_from = [old for old, targets in TRANSITIONS.items() if report.status in targets]
    allowed_from = [old for old in allowed_from if old != "queued"]
    changes: dict[str, Any] = {"status": report.status, "lease_expires_at": None}
    if report.status == Command.Status.RUNNING:
        changes["started_at"] = now
    else:
        changes |= {
            "finished_at": now,
            "result": report.result,
            "error": report.error,
            "output": report.output,
        }
    moved = Command.objects.filter(
        pk=command.pk, attempt=report.attempt, status__in=allowed_from
    ).update(**changes)
    command.refresh_from_db()
    if moved:
        _record_report(command=command, actor=actor, now=now)
    elif command.status != report.status or command.attempt != report.attempt:
        raise TransitionRefused(
            f"Command {command.pk} is {command.status} at attempt {command.attempt}; a report of"
            f" “{report.status}” for attempt {report.attempt} does not fit.",
            command_status=command.status,
            attempt=command.attempt,
        )
    return command


def _adopt_pace(*, command: Command, actor: Actor, now: datetime) -> None:
    """Take over the pace a `config` command gave the device: the portal's answers set it."""
    changes = {
        ADOPTED[key]: int(value)
        for key, value in command.payload.get("changes", {}).items()
        if key in ADOPTED and value.isdigit()
    }
    bounded = {
        name: value
        for name, value in changes.items()
        if limits.HEARTBEAT_INTERVAL_MIN_S <= value <= limits.HEARTBEAT_INTERVAL_MAX_S
    }
    if bounded:
        device_update(device=command.device, changes=bounded, actor=actor, now=now)


def _record_report(*, command: Command, actor: Actor, now: datetime) -> None:
    audit.record(
        actor=actor,
        organization=command.organization,
        action=f"command.{command.status}",
        target=command,
        after={"attempt": command.attempt, **({"error": command.error} if command.error else {})},
    )
    if command.status in ENDED:
        went_well = command.status == Command.Status.SUCCEEDED
        if went_well and command.kind == "config":
            _adopt_pace(command=command, actor=actor, now=now)
        event_add(
            device=command.device,
            kind="command",
            severity=DeviceEvent.Severity.INFO if went_well else DeviceEvent.Severity.WARNING,
            message=f"{command.kind} {command.status}"
            + (f": {command.error}" if command.error else ""),
            now=now,
            details={"command": str(command.pk)},
        )


def _sha256(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := content.read(1024 * 1024):
        digest.update(chunk)
    return digest.hexdigest()


@transaction.atomic
def bundle_store(
    *, command: Command, content: IO[bytes], size: int, sha256: str, actor: Actor, now: datetime
) -> SupportBundle:
    """Keep the archive a device sends for a `bundle` command.

    `content` is read once and compared with `sha256` (hex); `size` is in bytes. The same archive
    sent again returns the first one. Raises BundleRefused.
    """
    if command.kind != "bundle" or not command.is_open:
        raise BundleRefused(f"Command {command.pk} does not wait for a bundle.")
    seen = _sha256(content)
    if sha256 and seen != sha256.lower():
        raise BundleRefused("The archive does not have the checksum named. Send it again.")
    known = SupportBundle.objects.filter(command=command).first()
    if known is not None:
        if known.sha256 == seen:
            return known
        raise BundleRefused("Another archive was sent for this command already.")
    content.seek(0)
    bundle = SupportBundle(
        id=uuid7(),
        organization_id=command.organization_id,
        device=command.device,
        command=command,
        size=size,
        sha256=seen,
        created_at=now,
    )
    bundle.file.save(f"{bundle.pk}.tar.gz", File(content), save=False)
    bundle.save(force_insert=True)
    audit.record(
        actor=actor,
        organization=command.organization,
        action="bundle.receive",
        target=bundle,
        after={"device": command.device.device_id, "size": size, "sha256": seen},
    )
    return bundle


@transaction.atomic
def bundle_read(*, bundle: SupportBundle, actor: Actor) -> "File[bytes]":
    """Open a bundle for download; reading one is written to the log."""
    audit.record(
        actor=actor, organization=bundle.organization, action="bundle.download", target=bundle
    )
    opened: File[bytes] = bundle.file.open("rb")
    return opened


@transaction.atomic
def commands_expire(*, now: datetime) -> dict[str, int]:
    """End or put back what waited or ran too long; return how many of each. One sweep.

    Over its time: expired. For a retired device: cancelled. Handed out and never begun: queued
    again, or timed out after `limits.COMMAND_ATTEMPTS_MAX` attempts. Running for longer than
    `limits.COMMAND_RUN_MAX`: timed out. One audit entry per organisation and outcome.
    """
    too_often = Command.objects.lease_lost(now).filter(attempt__gte=limits.COMMAND_ATTEMPTS_MAX)
    return {
        "expired": _end(Command.objects.overdue(now), to="expired", now=now),
        "cancelled": _end(Command.objects.orphaned(), to="cancelled", now=now),
        "timed_out": _end(Command.objects.stuck(now), to="timed_out", now=now)
        + _end(too_often, to="timed_out", now=now),
        "requeued": _requeue(now=now),
    }


def _locked(commands: QuerySet[Command]) -> list[tuple[UUID, UUID]]:
    """Lock the rows nobody else works on; return (id, organisation id)."""
    rows = commands.select_for_update(skip_locked=True, of=("self",)).order_by("pk")
    return list(rows.values_list("pk", "organization_id")[:10_000])


def _end(commands: QuerySet[Command], *, to: str, now: datetime) -> int:
    rows = _locked(commands)
    Command.objects.filter(pk__in=[pk for pk, _ in rows]).update(
        status=to, finished_at=now, lease_expires_at=None
    )
    _record_sweep(rows, action=f"command.{to}")
    return len(rows)


def _requeue(*, now: datetime) -> int:
    rows = _locked(Command.objects.lease_lost(now).filter(expires_at__gt=now))
    Command.objects.filter(pk__in=[pk for pk, _ in rows]).update(
        status=Command.Status.QUEUED, lease_expires_at=None
    )
    _record_sweep(rows, action="command.requeue")
    return len(rows)


def _record_sweep(rows: list[tuple[UUID, UUID]], *, action: str) -> None:
    by_organization: dict[UUID, list[UUID]] = defaultdict(list)
    for pk, organization_id in rows:
        by_organization[organization_id].append(pk)
    for organization in Organization.objects.filter(pk__in=by_organization):
        ids = by_organization[organization.pk]
        audit.record(
            actor=None,
            organization=organization,
            action=action,
            target=Command.objects.get(pk=ids[0]) if len(ids) == 1 else None,
            after={"count": len(ids), "commands": [str(pk) for pk in ids[:50]]},
        )

"""Orders come in: one, the same for many, or the same once more."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Count

from audit import services as audit
from audit.services import Actor
from commands import registry
from commands.errors import (
    CommandNotRetryable,
    DeviceNotCommandable,
    QueueFull,
    RequestIdUsed,
)
from commands.models import Command, CommandBatch
from commands.options import Options
from commands.services.rows import check_version, locked
from common import limits
from common.db import fetch_all
from common.errors import DomainError
from common.ids import uuid7
from devices.models import Device

COMMANDABLE = [Device.Lifecycle.ACTIVE, Device.Lifecycle.QUARANTINED]

# Takes `count` numbers of each device's line. Whoever holds a line's row queues alone for that
# device, until the end of the transaction; sorted, so that two of these never lock each other out.
_TAKE = """
INSERT INTO commands_commandlane (device_id, organization_id, sequence)
SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[]) AS t (device, organization, count)
 ORDER BY device
ON CONFLICT (device_id) DO UPDATE
   SET sequence = commands_commandlane.sequence + excluded.sequence
RETURNING device_id, sequence
"""


@dataclass(frozen=True)
class Travel:
    """How a command reaches its device; only transports other than the agent's read the rest."""

    protocol: str = "agent"
    codec: str = ""
    metadata: dict[str, Any] | None = None
    qos: int | None = None
    retain: bool = False
    confirmable: bool = True

    def columns(self) -> dict[str, Any]:
        """Return the values for a new row of Command."""
        return {
            "protocol": self.protocol,
            "codec": self.codec,
            "metadata": self.metadata or {},
            "qos": self.qos,
            "retain": self.retain,
            "confirmable": self.confirmable,
        }


@dataclass(frozen=True)
class Queued:
    """What became of one device of a bulk act: a command, or the reason for none."""

    device: Device
    command: Command | None
    refusal: DomainError | None = None


def lanes_take(devices: Sequence[Device], *, count: int = 1) -> dict[UUID, int]:
    """Take numbers of every device's line and lock it; return the last number taken of each."""
    columns = [
        [device.pk for device in devices],
        [device.organization_id for device in devices],
        [count] * len(devices),
    ]
    return dict(fetch_all(_TAKE, columns))


def _refusal(device: Device, open_commands: int) -> DomainError | None:
    if device.lifecycle not in COMMANDABLE:
        return DeviceNotCommandable(
            f"{device.device_id} is {device.lifecycle}: only active devices take commands."
        )
    if open_commands >= limits.COMMANDS_PER_DEVICE:
        return QueueFull(
            f"{device.device_id} already holds {limits.COMMANDS_PER_DEVICE} open commands."
            " Cancel some or wait."
        )
    return None


def _open_by_device(devices: Sequence[Device]) -> dict[UUID, int]:
    commands = Command.objects.filter(device__in=[device.pk for device in devices]).open()
    return dict(commands.order_by().values_list("device").annotate(open=Count("pk")))


@dataclass(frozen=True)
class _Draft:
    """A command but for its device."""

    kind: str
    prepared: registry.Prepared
    options: Options
    travel: Travel
    source: str
    created_by: str
    now: datetime
    batch: CommandBatch | None = None

    def row(self, device: Device, sequence: int, pk: UUID | None = None) -> Command:
        columns = self.options.columns(self.now)
        if self.prepared.run_timeout_s and self.options.run_timeout_s is None:
            columns["run_timeout_s"] = self.prepared.run_timeout_s
        return Command(
            id=pk or uuid7(),
            organization_id=device.organization_id,
            device=device,
            batch=self.batch,
            kind=self.kind,
            payload=self.prepared.payload,
            disruptive=self.prepared.disruptive,
            sequence=sequence,
            moved_by=self.source,
            created_at=self.now,
            created_by=self.created_by,
            **columns,
            **self.travel.columns(),
        )


@transaction.atomic
def command_queue(
    *,
    device: Device,
    kind: str,
    payload: dict[str, Any],
    actor: Actor,
    now: datetime,
    options: Options | None = None,
    travel: Travel | None = None,
    source: str = "api",
    request_id: UUID | None = None,
    retry_of: Command | None = None,
    batch: CommandBatch | None = None,
) -> Command:
    """Queue one command for one device.

    `request_id` becomes the command's id; the same order under the same id gives the command it
    made the first time, another one raises RequestIdUsed. `source` is api, console or sweep.
    Raises UnknownKind, PayloadRefused, DeviceNotCommandable or QueueFull.
    """
    draft = _Draft(
        kind=kind,
        prepared=registry.prepared(
            name=kind, organization_id=device.organization_id, payload=payload
        ),
        options=options or Options(),
        travel=travel or Travel(),
        source=source,
        created_by=actor.label[: limits.LINE_CHARS],
        now=now,
        batch=batch,
    )
    sequence = lanes_take([device])[device.pk]
    command = draft.row(device, sequence, request_id)
    if request_id and (known := _known(command, payload)):
        return known
    refusal = _refusal(device, _open_by_device([device]).get(device.pk, 0))
    if refusal:
        raise refusal
    command.retry_of = retry_of
    _insert(command)
    _record_queued([command], actor=actor)
    return command


def _known(wanted: Command, asked: dict[str, Any]) -> Command | None:
    """Return the command an earlier request of the same id made, or refuse another order."""
    there = Command.objects.select_related("device", "organization").filter(pk=wanted.pk).first()
    if there is None:
        return None
    same = there.payload == wanted.payload
    if registry.is_prepared(wanted.kind):
        # What was pinned then may be pinned otherwise by now.
        same = all(there.payload.get(name) == value for name, value in asked.items())
    if not same or (there.device_id, there.kind) != (wanted.device_id, wanted.kind):
        raise _id_is_used(wanted)
    return there


def _insert(command: Command) -> None:
    try:
        with transaction.atomic():
            command.save(force_insert=True)
    except IntegrityError as error:
        # The same id for another device, at the same moment.
        if "commands_command_pkey" not in str(error):
            raise
        raise _id_is_used(command) from None


def _id_is_used(command: Command) -> RequestIdUsed:
    return RequestIdUsed(
        f"The request id {command.pk} names another command already. Make a new UUID per command."
    )


@transaction.atomic
def commands_queue(
    *,
    devices: Iterable[Device],
    kind: str,
    payload: dict[str, Any],
    actor: Actor,
    now: datetime,
    options: Options | None = None,
    source: str = "api",
    batch: CommandBatch | None = None,
) -> list[Queued]:
    """Queue the same command for many devices of one organisation, in a handful of statements.

    Each device succeeds or is refused by itself; what is wrong with the command itself raises as
    in `command_queue`. The log gets one entry with the count.
    """
    chosen = list(devices)
    if not chosen:
        return []
    draft = _Draft(
        kind=kind,
        prepared=registry.prepared(
            name=kind, organization_id=chosen[0].organization_id, payload=payload
        ),
        options=options or Options(),
        travel=Travel(),
        source=source,
        created_by=actor.label[: limits.LINE_CHARS],
        now=now,
        batch=batch,
    )
    sequences, held = lanes_take(chosen), _open_by_device(chosen)
    outcome = []
    for device in chosen:
        refusal = _refusal(device, held.get(device.pk, 0))
        command = None if refusal else draft.row(device, sequences[device.pk])
        outcome.append(Queued(device=device, command=command, refusal=refusal))
    made = [one.command for one in outcome if one.command]
    Command.objects.bulk_create(made, batch_size=1_000)
    _record_queued(made, actor=actor)
    return outcome


def _record_queued(commands: list[Command], *, actor: Actor) -> None:
    if not commands:
        return
    first = commands[0]
    order = {"type": first.kind, "payload": first.payload}
    names = [command.device.device_id for command in commands]
    audit.record(
        actor=actor,
        organization=first.device.organization,
        action="command.queue",
        target=first if len(commands) == 1 else None,
        after={"device": names[0], **order}
        if len(commands) == 1
        else {"count": len(names), "devices": names[:50], **order},
    )


@transaction.atomic
def command_retry(
    *,
    command: Command,
    actor: Actor,
    now: datetime,
    expected_version: int | None = None,
    source: str = "api",
) -> Command:
    """Queue a new command like one that ended badly, with as much time as that one had.

    Raises CommandNotRetryable for one that is open or succeeded, VersionConflict when it has
    moved since the caller looked.
    """
    row = locked(command)
    check_version(row, expected_version)
    if row.is_open or row.status == Command.Status.SUCCEEDED:
        raise CommandNotRetryable(
            f"Command {row.pk} is {row.status}; only one that ended badly is tried again."
        )
    return command_queue(
        device=command.device,
        kind=row.kind,
        payload=row.payload,
        options=_options_again(row),
        travel=Travel(
            protocol=row.protocol,
            codec=row.codec,
            metadata=row.metadata,
            qos=row.qos,
            retain=row.retain,
            confirmable=row.confirmable,
        ),
        retry_of=row,
        actor=actor,
        now=now,
        source=source,
    )


def _options_again(row: Command) -> Options:
    waited = row.expires_at - max(row.created_at, row.not_before or row.created_at)
    return Options(
        priority=row.priority,
        expires_in_s=max(int(waited.total_seconds()), limits.COMMAND_TTL_MIN_S),
        run_timeout_s=row.run_timeout_s,
        retries=row.retries,
        retry_backoff_s=row.retry_backoff_s,
        expect_version=row.expect_version,
        expect_state=row.expect_state,
        on_mismatch=row.on_mismatch,
        reconnect=row.reconnect,
        reconnect_after_s=row.reconnect_after_s,
    )

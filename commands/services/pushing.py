"""Many different orders in one request."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts.models import Organization
from audit.services import Actor
from commands.errors import PushRefused
from commands.models import BatchTarget, Command, CommandBatch
from commands.options import Options
from commands.services.queueing import Travel, command_queue, lanes_take
from common.errors import DomainError
from common.ids import uuid7
from devices.models import Device


@dataclass(frozen=True)
class Order:
    """One command of a push, for a device the caller may see."""

    device: Device
    kind: str
    payload: dict[str, Any]
    options: Options
    travel: Travel
    request_id: UUID | None = None


Outcome = Command | DomainError


@transaction.atomic
def commands_push(
    *,
    orders: Sequence[Order | DomainError],
    organization: Organization,
    actor: Actor,
    now: datetime,
    all_or_none: bool = False,
) -> tuple[CommandBatch, list[Outcome]]:
    """Queue each order by itself, in the order given; return a batch row that links them.

    What was refused before it could be ordered stands among the orders as its refusal. With
    `all_or_none` one refusal raises PushRefused with all of them, and nothing is queued.
    """
    devices = {order.device.pk: order.device for order in orders if isinstance(order, Order)}
    # All lines at once and sorted: pushes that name the same devices wait for each other.
    lanes_take(list(devices.values()), count=0)
    batch = CommandBatch.objects.create(
        id=uuid7(),
        organization=organization,
        name=f"Push of {len(orders)}",
        origin=CommandBatch.Origin.PUSH,
        status=CommandBatch.Status.RUNNING,
        wave=0,
        created_at=now,
        started_at=now,
        created_by=actor.label[:255],
    )
    outcome = [_one(order, batch=batch, actor=actor, now=now) for order in orders]
    if all_or_none:
        _refuse_any(outcome)
    _link(batch, outcome, now=now)
    return batch, outcome


def _one(
    order: Order | DomainError, *, batch: CommandBatch, actor: Actor, now: datetime
) -> Outcome:
    if isinstance(order, DomainError):
        return order
    try:
        return command_queue(
            device=order.device,
            kind=order.kind,
            payload=order.payload,
            options=order.options,
            travel=order.travel,
            request_id=order.request_id,
            batch=batch,
            actor=actor,
            now=now,
        )
    except DomainError as refusal:
        return refusal


def _refuse_any(outcome: list[Outcome]) -> None:
    errors = {
        f"commands.{index}": [one.message]
        for index, one in enumerate(outcome)
        if isinstance(one, DomainError)
    }
    if errors:
        raise PushRefused(
            f"{len(errors)} of {len(outcome)} commands are refused, so none was queued.",
            errors=errors,
        )


def _link(batch: CommandBatch, outcome: list[Outcome], *, now: datetime) -> None:
    """Name the devices of the batch; what made no command at all is over."""
    first: dict[UUID, Command] = {}
    for command in outcome:
        if isinstance(command, Command) and command.batch_id == batch.pk:
            first.setdefault(command.device_id, command)
    BatchTarget.objects.bulk_create(
        BatchTarget(
            organization_id=batch.organization_id,
            batch=batch,
            device=command.device,
            wave=0,
            command=command,
        )
        for command in first.values()
    )
    if not first:
        batch.status, batch.finished_at = CommandBatch.Status.COMPLETED, now
        batch.save(update_fields=["status", "finished_at"])

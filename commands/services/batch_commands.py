"""The commands of a batch, a thousand at a time: made, held, let go, taken back.

Rows somebody else works on are passed over; the sweep calls again until there are none.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from commands.models import OPEN, PAUSED_REASON, BatchTarget, Command, CommandBatch
from commands.options import Options
from commands.registry import Prepared
from commands.services.batch_progress import WINDOW_CLOSED
from commands.services.batch_targets import left_out_because, queues_full
from commands.services.queueing import lanes_take
from common import db, limits
from common.ids import uuid7
from devices.models import Device

BATCH_CANCELLED = "batch_cancelled"
# Of limits.BATCH_CHUNK commands, in one transaction of an act; the sweep does the rest.
_ROUNDS = 5

_LINK = """
UPDATE commands_batchtarget AS target SET command_id = made.command
  FROM unnest(%s::bigint[], %s::uuid[]) AS made (target, command)
 WHERE target.id = made.target
"""


def commands_create_bulk(
    *,
    batch: CommandBatch,
    targets: Sequence[BatchTarget],
    prepared: Prepared,
    now: datetime,
    closes: datetime | None = None,
) -> int:
    """Make the commands of some targets in one go; return how many.

    A device that has changed since the list was frozen may be left out now. `closes` is when
    their window does: nothing is begun after it. To be called in a transaction; the log's entry
    is the caller's.
    """
    devices = Device.objects.in_bulk([target.device_id for target in targets])
    numbers = lanes_take(list(devices.values()))
    full = queues_full(Device.objects.filter(pk__in=devices))
    columns = _columns(batch, prepared, now=now, closes=closes)
    made: dict[int, Command] = {}
    left_out: dict[str, list[int]] = defaultdict(list)
    for target in targets:
        device = devices[target.device_id]
        if reason := left_out_because(device, full=device.pk in full):
            left_out[reason].append(target.pk)
        else:
            made[target.pk] = Command(
                id=uuid7(), device=device, sequence=numbers[device.pk], **columns
            )
    Command.objects.bulk_create(made.values(), batch_size=limits.BATCH_CHUNK)
    db.execute(_LINK, [list(made), [command.pk for command in made.values()]])
    for reason, keys in left_out.items():
        BatchTarget.objects.filter(pk__in=keys).update(skipped=reason)
    return len(made)


def _columns(
    batch: CommandBatch, prepared: Prepared, *, now: datetime, closes: datetime | None
) -> dict[str, Any]:
    options = Options.stored(batch.options)
    columns = options.columns(now)
    if prepared.run_timeout_s and options.run_timeout_s is None:
        columns["run_timeout_s"] = prepared.run_timeout_s
    if closes:
        columns["expires_at"] = min(columns["expires_at"], closes)
    return {
        **columns,
        "organization_id": batch.organization_id,
        "batch": batch,
        "kind": batch.kind,
        "payload": prepared.payload,
        "disruptive": prepared.disruptive,
        "moved_by": "sweep",
        "created_at": now,
        "created_by": batch.created_by,
    }


def commands_hold(batch: CommandBatch) -> int:
    """Hold what devices of a paused batch have not fetched; return how many."""
    waiting = Command.objects.filter(batch=batch, status="queued", held_reason="")
    return _each_chunk(waiting, held_reason=PAUSED_REASON)


def commands_let_go(batch: CommandBatch) -> int:
    """Undo `commands_hold`; what is held for another reason stays held."""
    held = Command.objects.filter(batch=batch, status="queued", held_reason=PAUSED_REASON)
    return _each_chunk(held, held_reason="")


def commands_shut_out(batch: CommandBatch, *, now: datetime) -> int:
    """Take back what was not begun while the window was open; return how many."""
    waiting = Command.objects.filter(batch=batch, status="queued")
    error = "The window of the batch closed before the device began."
    return _each_chunk(waiting, **_cancelled(now, WINDOW_CLOSED, error))


def wind_down(batch: CommandBatch, *, now: datetime) -> int:
    """Take back the commands of an ended batch; return how many.

    Attempts that fail put commands back into the queue, so this is repeated until all have ended.
    """
    BatchTarget.objects.filter(batch=batch, command__isnull=True, skipped="").update(
        skipped=f"was not reached before the batch was {batch.get_status_display()}"
    )
    every = batch.cancelling == CommandBatch.Cancelling.ALL
    error = f"The batch was {batch.get_status_display()}. {batch.reason}".strip()
    taken = _each_chunk(
        Command.objects.filter(batch=batch, status__in=OPEN if every else ["queued"]),
        **_cancelled(now, BATCH_CANCELLED, error),
    )
    if not Command.objects.filter(batch=batch, status__in=OPEN).exists():
        batch.cancelling = ""
        batch.save(update_fields=["cancelling"])
    return taken


def _cancelled(now: datetime, code: str, error: str) -> dict[str, Any]:
    return {
        "status": Command.Status.CANCELLED,
        "moved_by": "sweep",
        "finished_at": now,
        "error_code": code,
        "error": error,
        "failure_class": "",
        "held_reason": "",
        "lease_expires_at": None,
        "run_deadline": None,
        "step_deadline": None,
        "cancel_deadline": None,
    }


def _each_chunk(commands: QuerySet[Command], **changes: Any) -> int:
    total = 0
    for _ in range(_ROUNDS):
        rows = commands.select_for_update(skip_locked=True, of=("self",)).order_by("pk")
        keys = list(rows.values_list("pk", flat=True)[: limits.BATCH_CHUNK])
        total += Command.objects.filter(pk__in=keys).update(**changes)
        if len(keys) < limits.BATCH_CHUNK:
            break
    return total

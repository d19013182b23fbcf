"""Batches: one order to many devices, and what people do with it. The sweep does the rest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.principals import Principal
from audit import services as audit
from audit.services import Actor
from commands import registry
from commands.errors import ApprovalRefused, BatchConflict, BatchEmpty, PlanRefused
from commands.models import UNENDED, BatchTarget, CommandBatch
from commands.services.batch_commands import commands_hold, commands_let_go, wind_down
from commands.services.batch_progress import failed_targets
from commands.services.batch_targets import Choice, choose, freeze, judge, wave_sizes
from commands.services.batch_windows import Window
from common import limits
from common.errors import NotAllowed
from common.ids import uuid7
from devices.models import Device

Status = CommandBatch.Status


@dataclass(frozen=True)
class Plan:
    """How a batch goes out. `waves` as {"size": n} or {"percent": n}; the rest is the last one.

    `abort_rules` are tried in order; `window` is as commands.services.batch_windows reads it.
    """

    waves: list[dict[str, int]] = field(default_factory=list)
    wave_pause_s: int = 0
    abort_rules: list[dict[str, Any]] = field(default_factory=list)
    start_at: datetime | None = None
    end_at: datetime | None = None
    end_behavior: str = CommandBatch.End.STOP
    window: dict[str, Any] | None = None

    def check(self, now: datetime) -> None:
        """Raise PlanRefused when nothing could ever be sent."""
        if self.end_at and self.end_at <= max(now, self.start_at or now):
            raise PlanRefused(
                "The end has to be in the future and after the start.",
                errors={"end_at": ["Choose a later moment."]},
            )
        if self.window:
            opens = Window.stored(self.window).span(max(now, self.start_at or now)).opens
            if self.end_at and opens >= self.end_at:
                raise PlanRefused(
                    "The window does not open before the end of the schedule.",
                    errors={"window": [f"It opens at {opens.isoformat()} next."]},
                )


@dataclass(frozen=True)
class BatchOrder:
    """What every device is told."""

    kind: str
    payload: dict[str, Any]
    # As the API takes them and commands.options.Options reads them, in JSON values.
    options: dict[str, Any] = field(default_factory=dict)


@transaction.atomic
def batch_create(
    *,
    name: str,
    order: BatchOrder,
    selection: Mapping[str, Any],
    plan: Plan,
    principal: Principal,
    now: datetime,
    draft: bool = False,
    origin: str = CommandBatch.Origin.API,
) -> CommandBatch:
    """Freeze who gets what; unless `draft`, start it at once.

    Raises SelectionRefused, PlanRefused, BatchEmpty, and what the command itself is refused for.
    """
    choice = choose(selection=selection, principal=principal)
    batch = _made(
        name=name,
        order=order,
        plan=plan,
        choice=choice,
        principal=principal,
        now=now,
        selection=dict(selection),
        origin=origin,
    )
    return batch if draft else batch_start(batch=batch, principal=principal, now=now)


def _made(
    *,
    name: str,
    order: BatchOrder,
    plan: Plan,
    choice: Choice,
    principal: Principal,
    now: datetime,
    **columns: Any,
) -> CommandBatch:
    organization = principal.acting_organization()
    # What may change until the last wave is out, such as a script's version, is settled here.
    prepared = registry.prepared(
        name=order.kind, organization_id=organization.pk, payload=order.payload
    )
    plan.check(now)
    if not choice.taking:
        raise BatchEmpty(
            f"No device would get the command: {_why_nobody(choice)}. Choose others.",
            errors={"selection": ["No device takes part."]},
        )
    batch = CommandBatch.objects.create(
        id=uuid7(),
        organization=organization,
        name=name,
        kind=order.kind,
        payload=prepared.payload,
        options=order.options,
        unmatched=[{"device_id": one.device_id, "reason": one.reason} for one in choice.unmatched],
        wave_sizes=wave_sizes(total=len(choice.taking), waves=plan.waves),
        creator_id=principal.id,
        created_by=principal.label[: limits.LINE_CHARS],
        created_at=now,
        **vars(plan),
        **columns,
    )
    freeze(batch=batch, choice=choice)
    _record(batch, principal, "create", type=order.kind, payload=prepared.payload,
            devices=batch.total, left_out=len(choice.left_out), waves=batch.wave_sizes)  # fmt: skip
    return batch


def _why_nobody(choice: Choice) -> str:
    if not choice.left_out:
        return "the selection is empty"
    first = choice.left_out[0]
    more = len(choice.left_out) - 1
    return f"{first.device_id} {first.reason}" + (f", and {more} more are left out" if more else "")


@transaction.atomic
def batch_start(
    *, batch: CommandBatch, principal: Principal, now: datetime, reason: str = ""
) -> CommandBatch:
    """Let a draft go, or put it before a second person when the organisation wants one.

    Raises BatchConflict for one that has been started, PlanRefused for one whose end has passed.
    """
    whole(batch, principal)
    _plan_of(batch).check(now)
    most = principal.acting_organization().batch_approval_above
    needed = most is not None and batch.total > most
    _move(
        batch,
        {Status.DRAFT: Status.AWAITING_APPROVAL if needed else Status.SCHEDULED},
        approval_needed=needed,
    )
    _record(batch, principal, "start", reason, devices=batch.total, approval_needed=needed)
    return batch


@transaction.atomic
def batch_approve(
    *, batch: CommandBatch, principal: Principal, now: datetime, reason: str
) -> CommandBatch:
    """Let a batch go as the second person.

    Raises ApprovalRefused for whoever made it and for API keys, BatchConflict for one that does
    not wait for anybody.
    """
    whole(batch, principal)
    if principal.kind != "user":
        raise ApprovalRefused("Approving takes a person: sign in instead of using an API key.")
    if principal.id == batch.creator_id:
        raise ApprovalRefused(
            f"You made “{batch.name}”: ask another operator or admin to approve it."
        )
    _plan_of(batch).check(now)
    _move(
        batch,
        {Status.AWAITING_APPROVAL: Status.SCHEDULED},
        approved_at=now,
        approved_by=principal.label[: limits.LINE_CHARS],
    )
    _record(batch, principal, "approve", reason, devices=batch.total)
    return batch


@transaction.atomic
def batch_pause(*, batch: CommandBatch, principal: Principal, reason: str = "") -> CommandBatch:
    """Send no more, and hold what devices have not fetched. What runs, runs on."""
    whole(batch, principal)
    _move(batch, dict.fromkeys([Status.SCHEDULED, Status.RUNNING], Status.PAUSED), reason=reason)
    held = commands_hold(batch)
    _record(batch, principal, "pause", reason, held=held)
    return batch


@transaction.atomic
def batch_resume(*, batch: CommandBatch, principal: Principal, reason: str = "") -> CommandBatch:
    """Go on where it was paused."""
    whole(batch, principal)
    goes_on = Status.RUNNING if batch.started_at else Status.SCHEDULED
    _move(batch, {Status.PAUSED: goes_on}, reason="")
    released = commands_let_go(batch)
    _record(batch, principal, "resume", reason, released=released)
    return batch


@transaction.atomic
def batch_cancel(
    *,
    batch: CommandBatch,
    principal: Principal,
    now: datetime,
    reason: str = "",
    force: bool = False,
) -> CommandBatch:
    """End a batch: what waits is taken back; with `force` also what devices hold or run.

    Of many commands the first few thousand are cancelled here, the rest by the next sweeps.
    """
    whole(batch, principal)
    _move(
        batch,
        dict.fromkeys(map(Status, UNENDED), Status.CANCELLED),
        finished_at=now,
        reason=reason,
        cancelling=CommandBatch.Cancelling.ALL if force else CommandBatch.Cancelling.WAITING,
    )
    cancelled = wind_down(batch, now=now)
    _record(batch, principal, "cancel", reason, cancelled=cancelled, force=force)
    return batch


@transaction.atomic
def batch_retry_failed(
    *,
    batch: CommandBatch,
    principal: Principal,
    now: datetime,
    draft: bool = False,
    origin: str = CommandBatch.Origin.API,
) -> CommandBatch:
    """Make a batch of the devices where this one failed, timed out or expired, and start it.

    The order, the waves and the window are the same; the schedule is not. Raises BatchEmpty.
    """
    whole(batch, principal)
    failed = Device.objects.visible_to(principal).filter(
        pk__in=failed_targets(batch).values("device_id")
    )
    options = {name: value for name, value in batch.options.items() if name != "not_before"}
    again = _made(
        name=f"{batch.name[: limits.NAME_CHARS - 9]} (again)",
        order=BatchOrder(batch.kind, batch.payload, options),
        plan=Plan(
            waves=batch.waves,
            wave_pause_s=batch.wave_pause_s,
            abort_rules=batch.abort_rules,
            window=batch.window,
        ),
        choice=judge(failed),
        principal=principal,
        now=now,
        selection={"failed_of": str(batch.pk)},
        retry_of=batch,
        origin=origin,
    )
    return again if draft else batch_start(batch=again, principal=principal, now=now)


def whole(batch: CommandBatch, principal: Principal) -> None:
    """Refuse to act from nowhere, or on a batch that reaches beyond a person's groups."""
    principal.acting_organization()
    if principal.limited and not sees_whole(batch, principal):
        raise NotAllowed(
            f"“{batch.name}” has devices outside your groups; ask somebody who sees all of them."
        )


def sees_whole(batch: CommandBatch, principal: Principal) -> bool:
    """Say whether every device of the batch is visible to the principal."""
    if not principal.limited:
        return True
    if batch.origin == CommandBatch.Origin.PUSH:
        mine = batch.commands.filter(device__in=Device.objects.visible_to(principal))
        return not batch.commands.exclude(pk__in=mine.values("pk")).exists()
    hidden = BatchTarget.objects.filter(batch=batch).exclude(
        device__in=Device.objects.visible_to(principal)
    )
    return not hidden.exists()


def _plan_of(batch: CommandBatch) -> Plan:
    return Plan(start_at=batch.start_at, end_at=batch.end_at, window=batch.window)


def _move(batch: CommandBatch, ways: Mapping[Status, Status], **changes: Any) -> None:
    """Move the batch along the way its present status has; raise BatchConflict when it has none."""
    for old, new in ways.items():
        rows = CommandBatch.objects.filter(pk=batch.pk, status=old)
        if rows.update(status=new, **changes):
            batch.refresh_from_db()
            return
    batch.refresh_from_db()
    raise BatchConflict(
        f"“{batch.name}” is {batch.get_status_display()}; this takes one that is"
        f" {' or '.join(old.label for old in ways)}.",
        batch_status=batch.status,
    )


def _record(batch: CommandBatch, actor: Actor, verb: str, reason: str = "", **said: Any) -> None:
    after = {"status": batch.status, **said} | ({"reason": reason} if reason else {})
    audit.record(
        actor=actor,
        organization=batch.organization,
        action=f"batch.{verb}",
        target=batch,
        after=after,
    )

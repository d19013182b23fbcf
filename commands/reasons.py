"""Why a command has not run yet."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from commands.models import Command, CommandBatch
from devices.models import Device, DeviceState


@dataclass(frozen=True)
class Reason:
    """One thing that keeps a command waiting; `until` when its end is known."""

    code: str
    detail: str
    until: datetime | None = None


def waiting_reasons(*, command: Command, now: datetime) -> list[Reason]:
    """Return what keeps a command from beginning, the most telling first; none once it ran."""
    reasons: list[Reason] = []
    if command.cancel_requested_at and command.is_open:
        reasons.append(
            Reason(
                "cancelling",
                "The device was asked to stop; the portal waits for its answer.",
                command.cancel_deadline,
            )
        )
    if command.status == Command.Status.DELIVERED:
        reasons.append(
            Reason(
                "lease_held",
                "The device fetched it and has not said that it began.",
                command.lease_expires_at,
            )
        )
    if command.status in (Command.Status.QUEUED, Command.Status.DELIVERED):
        reasons += _offline(command)
    if command.status == Command.Status.QUEUED:
        reasons += [*_set_aside(command, now), *_unmet(command), *_order(command, now)]
    return reasons


def _state(command: Command) -> DeviceState | None:
    return DeviceState.objects.filter(device_id=command.device_id).first()


def _offline(command: Command) -> Iterator[Reason]:
    state = _state(command)
    if state is None or state.last_seen is None:
        yield Reason("offline", "The device has never been heard of.")
    elif state.health == Device.Health.OFFLINE:
        yield Reason("offline", f"The device was last heard of at {state.last_seen.isoformat()}.")


def _set_aside(command: Command, now: datetime) -> Iterator[Reason]:
    batch = command.batch
    if batch is not None and batch.status == CommandBatch.Status.PAUSED:
        yield Reason("batch_paused", f"The batch “{batch.name}” is paused. {batch.reason}".strip())
    elif command.held_reason:
        yield Reason("held", command.held_reason)
    if command.not_before and command.not_before > now:
        if batch is not None and batch.window and command.attempt == 0:
            yield Reason("batch_window", "The batch's window opens later.", command.not_before)
        else:
            words = "Waits before the next attempt." if command.attempt else "Scheduled for later."
            yield Reason("not_before", words, command.not_before)


def _unmet(command: Command) -> Iterator[Reason]:
    state = _state(command)
    if state is None:
        return
    pairs = [
        ("version", command.expect_version, state.version),
        ("state", command.expect_state, state.health),
    ]
    for name, expected, found in pairs:
        if expected and expected != found:
            yield Reason(
                "precondition", f"Expected {name} {expected}, the device has {found or 'none'}."
            )


def _order(command: Command, now: datetime) -> Iterator[Reason]:
    others = Command.objects.filter(device_id=command.device_id).exclude(pk=command.pk)
    if command.disruptive:
        busy = others.filter(disruptive=True, status__in=["delivered", "running"]).first()
        if busy is not None:
            yield Reason(
                "order",
                f"“{busy.kind}” {busy.pk} is in flight; one such command runs at a time.",
                busy.run_deadline or busy.lease_expires_at,
            )
    before = Q(priority__gt=command.priority) | Q(
        priority=command.priority, sequence__lt=command.sequence
    )
    due = Q(not_before__isnull=True) | Q(not_before__lte=now)
    ahead = others.filter(before, due, status="queued", held_reason="", expires_at__gt=now).count()
    if ahead:
        yield Reason("order", f"{ahead} command{'s are' if ahead > 1 else ' is'} before it.")

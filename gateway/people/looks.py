"""What somebody may see of what happened. Every row comes through `visible_to`."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from accounts.policy import Action
from accounts.principals import Principal
from commands.models import Command, CommandBatch
from commands.services.batch_progress import progress_of
from common import limits
from devices.models import DeviceEvent
from gateway.people.trails import Happened
from releases.models import DeviceUpdate, Rollout, RolloutEvent
from releases.selectors.progress import rollout_progress

# Rows of one kind in one look; of more, the newest.
ROWS_MAX = 200


@dataclass(frozen=True)
class News:
    """One event. `about` are the keys of what it concerns.

    What is `detailed` goes only to streams that asked for one of those; `key` names what a later
    event replaces, and is empty when each is told for itself.
    """

    name: str
    data: dict[str, Any]
    about: frozenset[UUID]
    detailed: bool = False
    key: str = ""


def news_of(principal: Principal, happened: Happened) -> list[News]:
    """Return the events of what happened, the parts before what they add up to."""
    return [
        one for right, kind in _KINDS if principal.may(right) for one in kind(principal, happened)
    ]


def present_of(principal: Principal, about: frozenset[UUID]) -> list[News]:
    """Return how what is under way stands, or what the stream is about."""
    happened = Happened()
    rollouts = Rollout.objects.visible_to(principal)
    chosen: QuerySet[Rollout] = rollouts.filter(pk__in=about) if about else rollouts.live()
    happened.rollouts |= set(chosen.order_by("-pk").values_list("pk", flat=True)[:ROWS_MAX])
    happened.batches |= about
    updates = DeviceUpdate.objects.visible_to(principal).open().filter(device__in=about)
    happened.updates |= set(updates.order_by("-pk").values_list("pk", flat=True)[:ROWS_MAX])
    return news_of(principal, happened)


def missed_of(principal: Principal, since: datetime) -> list[News]:
    """Return the events since then that no later one replaces."""
    happened = Happened()
    for members, events in (
        (happened.rollout_events, RolloutEvent.objects),
        (happened.device_events, DeviceEvent.objects),
    ):
        seen: Any = events.visible_to(principal).filter(at__gte=since)
        members.update(seen.order_by("-pk").values_list("pk", flat=True)[:ROWS_MAX])
    return news_of(principal, happened)


def _newest(rows: QuerySet[Any], keys: Iterable[Any]) -> list[Any]:
    found = list(rows.filter(pk__in=keys).order_by("-pk")[:ROWS_MAX]) if keys else []
    return found[::-1]


def _rollout_events(principal: Principal, happened: Happened) -> Iterator[News]:
    # A limited person hears only of rollouts that reach a device of theirs.
    events = RolloutEvent.objects.visible_to(principal)
    events = events.filter(rollout__in=Rollout.objects.visible_to(principal))
    for event in _newest(events, happened.rollout_events):
        data = {
            "id": event.pk,
            "rollout": event.rollout_id,
            "at": event.at,
            "kind": event.kind,
            "message": event.message,
            "details": event.details,
        }
        yield News("rollout_event", data, frozenset({event.rollout_id}))


def _updates(principal: Principal, happened: Happened) -> Iterator[News]:
    updates = DeviceUpdate.objects.visible_to(principal).select_related("device")
    for update in _newest(updates, happened.updates):
        data = {
            "update_id": update.pk,
            "device_id": update.device.device_id,
            "device": update.device_id,
            "rollout": update.rollout_id,
            "from_version": update.from_version,
            "to_version": update.to_version,
            "status": update.status,
            "step": update.step,
            "paused": update.is_paused,
            "error": update.error[: limits.LINE_CHARS],
        }
        about = {update.device_id} | ({update.rollout_id} if update.rollout_id else set())
        yield News("update", data, frozenset(about), detailed=True, key=f"update {update.pk}")


def _device_events(principal: Principal, happened: Happened) -> Iterator[News]:
    events = DeviceEvent.objects.visible_to(principal).select_related("device")
    for event in _newest(events, happened.device_events):
        data = {
            "id": event.pk,
            "device_id": event.device.device_id,
            "device": event.device_id,
            "at": event.at,
            "kind": event.kind,
            "severity": event.severity,
            "message": event.message,
        }
        yield News("device_event", data, frozenset({event.device_id}))


def _commands(principal: Principal, happened: Happened) -> Iterator[News]:
    commands = Command.objects.visible_to(principal).select_related("device")
    for command in _newest(commands, happened.commands):
        data = {
            "id": command.pk,
            "device_id": command.device.device_id,
            "device": command.device_id,
            "batch": command.batch_id,
            "type": command.kind,
            "status": command.status,
            "attempt": command.attempt,
        }
        about = {command.device_id} | ({command.batch_id} if command.batch_id else set())
        yield News("command", data, frozenset(about), detailed=True, key=f"command {command.pk}")


def _rollouts(principal: Principal, happened: Happened) -> Iterator[News]:
    rollouts = Rollout.objects.visible_to(principal).select_related("release")
    for rollout in _newest(rollouts, happened.rollouts):
        progress = rollout_progress(rollout, principal)
        data = {
            "id": rollout.pk,
            "name": rollout.name,
            "release": rollout.release.version,
            "status": rollout.status,
            "reason": rollout.reason,
            "total": progress.total,
            "by_state": dict(progress.by_state),
        }
        yield News("rollout", data, frozenset({rollout.pk}), key=f"rollout {rollout.pk}")


def _batches(principal: Principal, happened: Happened) -> Iterator[News]:
    batches = CommandBatch.objects.visible_to(principal)
    for batch in _newest(batches, happened.batches):
        progress = progress_of(batch, principal)
        data = {
            "id": batch.pk,
            "name": batch.name,
            "status": batch.status,
            "reason": batch.reason,
            "total": progress.total,
            "by_status": dict(progress.by_status),
        }
        yield News("batch", data, frozenset({batch.pk}), key=f"batch {batch.pk}")


_KINDS: list[tuple[Action, Callable[[Principal, Happened], Iterator[News]]]] = [
    (Action.ROLLOUT_READ, _rollout_events),
    (Action.UPDATE_READ, _updates),
    (Action.DEVICE_READ, _device_events),
    (Action.COMMAND_READ, _commands),
    (Action.ROLLOUT_READ, _rollouts),
    (Action.COMMAND_READ, _batches),
]

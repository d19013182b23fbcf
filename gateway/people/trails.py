"""What happened since the last look, read off the trails: tables that only ever grow.

Nothing has to be sent when something happens, so nobody pays for streams but who reads them: each
look is a few range scans of primary keys, and none at all while no stream is open.
"""

import time
from collections import defaultdict
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import models

from commands.models import CommandEvent
from devices.models import DeviceEvent
from releases.models import RolloutEvent, UpdateEvent

# A transaction may take this long to commit its line after a later one: lines so young are asked
# for again.
LAG = timedelta(seconds=3)
# Lines of one trail in one look. Of more, the newest: what they lead to is looked up anyway.
LINES_MAX = 1_000


@dataclass
class Happened:
    """Keys of what something happened to, in one organisation."""

    rollout_events: set[Any] = field(default_factory=set)
    rollouts: set[Any] = field(default_factory=set)
    updates: set[Any] = field(default_factory=set)
    device_events: set[Any] = field(default_factory=set)
    commands: set[Any] = field(default_factory=set)
    batches: set[Any] = field(default_factory=set)

    def add(self, other: "Happened") -> None:
        """Take what happened elsewhere, too."""
        for each in fields(self):
            getattr(self, each.name).update(getattr(other, each.name))


class Trail:
    """One table that only grows; it is known up to `_floor`, and from there line by line."""

    def __init__(self, model: type[models.Model], **columns: str) -> None:
        self._lines: models.Manager[Any] = model._default_manager
        # Member of Happened -> column.
        self.columns = columns
        self._floor: Any = None
        # Told lines above the floor, and when they were.
        self._told: dict[Any, float] = {}

    def begin(self, now: datetime) -> None:
        """Take everything older than LAG as known."""
        self._told.clear()
        newest = list(self._lines.order_by("-pk").values_list("pk", "at")[:LINES_MAX])
        known = [pk for pk, at in newest if at < now - LAG]
        # Younger than LAG altogether: then the trail goes on from the oldest of them, or begins.
        oldest = [pk for pk, _ in newest[LINES_MAX - 1 :]]
        self._floor = next(iter(known + oldest), None)

    def news(self) -> list[tuple[Any, ...]]:
        """Return the lines that came since the last look: organisation, then the columns."""
        lines = self._lines.order_by("-pk")
        if self._floor is not None:
            lines = lines.filter(pk__gt=self._floor)
        rows = lines.values_list("pk", "organization_id", *self.columns.values())[:LINES_MAX]
        fresh = [row for row in rows if row[0] not in self._told]
        moment = time.monotonic()
        self._told.update(dict.fromkeys((row[0] for row in fresh), moment))
        settled = [pk for pk, at in self._told.items() if at < moment - LAG.total_seconds()]
        if settled:
            self._floor = max(settled)
            self._told = {pk: at for pk, at in self._told.items() if pk > self._floor}
        return [row[1:] for row in reversed(fresh)]


class Trails:
    """All trails, read one after the other. One thread at a time."""

    def __init__(self) -> None:
        self._trails = [
            Trail(RolloutEvent, rollout_events="pk", rollouts="rollout_id"),
            Trail(UpdateEvent, updates="update_id", rollouts="update__rollout_id"),
            Trail(DeviceEvent, device_events="pk"),
            Trail(CommandEvent, commands="command_id", batches="command__batch_id"),
        ]

    def begin(self, now: datetime) -> None:
        """Start at `now`, after a time nobody read."""
        for trail in self._trails:
            trail.begin(now)

    def news(self) -> dict[UUID, Happened]:
        """Return what happened since the last look, by organisation."""
        found: dict[UUID, Happened] = defaultdict(Happened)
        for trail in self._trails:
            for organization, *keys in trail.news():
                happened = found[organization]
                for name, key in zip(trail.columns, keys, strict=True):
                    if key is not None:
                        getattr(happened, name).add(key)
        return found

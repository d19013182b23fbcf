"""Who waits for something to happen to a device, and what wakes them: a notification, or a look."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any
from uuid import UUID

import structlog

from gateway import claim_statements
from gateway.database import Connection, DatabaseAway, Pool, run
from gateway.wire import Receive

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 5.0
# Devices in one look: each costs PostgreSQL a probe, and this process a few microseconds.
LOOK_DEVICES = 500
_QUEUED = "queued"


class Sleeper:
    """A request that sleeps until its device is woken. It costs one timer and no task."""

    __slots__ = ("_alarm", "woken")

    def __init__(self) -> None:
        self.woken = False
        self._alarm: asyncio.Timeout | None = None

    def wake(self, word: str) -> None:
        """Stop sleeping; `word` is what the notification says, empty when it was none."""
        self.woken = True
        if self._alarm is not None and not self._alarm.expired():
            self._alarm.reschedule(0)

    async def sleep(self, receive: Receive, until: float) -> bool:
        """Sleep until woken or until `until` on the loop's clock; true when the caller hung up."""
        if self.woken:
            return False
        try:
            async with asyncio.timeout_at(until) as self._alarm:
                while (await receive())["type"] != "http.disconnect":
                    pass
                return True
        except TimeoutError:
            return False
        finally:
            self._alarm = None


class Wakeups:
    """The sleepers of one process, by device."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._sleepers: dict[UUID, set[Sleeper]] = {}
        # By identity: sets of the same devices are equal.
        self._hearing: dict[int, set[UUID]] = {}
        # What is done on a notification other than to wake: word -> (device, rest).
        self.on: dict[str, Callable[[UUID, str], Any]] = {}

    def add(self, device: UUID, sleeper: Sleeper) -> None:
        self._sleepers.setdefault(device, set()).add(sleeper)

    def discard(self, device: UUID, sleeper: Sleeper) -> None:
        sleepers = self._sleepers.get(device)
        if sleepers is not None:
            sleepers.discard(sleeper)
            if not sleepers:
                del self._sleepers[device]

    def __contains__(self, device: UUID) -> bool:
        return device in self._sleepers

    @contextmanager
    def heard(self) -> Iterator[set[UUID]]:
        """Collect the devices that are woken meanwhile.

        A look at the database begins before its sleeper is known here: what was queued in between
        is in this set.
        """
        devices: set[UUID] = set()
        self._hearing[id(devices)] = devices
        try:
            yield devices
        finally:
            del self._hearing[id(devices)]

    def hear(self, payload: str) -> None:
        """Take a notification: "<device> <word>", and more for some words."""
        name, _, rest = payload.partition(" ")
        word, _, rest = rest.partition(" ")
        try:
            device = UUID(name)
        except ValueError:
            log.warning("notification_unreadable", payload=payload[:80])
            return
        if word in self.on:
            self.on[word](device, rest)
        else:
            self.wake(device, word)

    def wake(self, device: UUID, word: str = _QUEUED) -> None:
        """Make everybody who sleeps for this device look again."""
        for devices in self._hearing.values():
            devices.add(device)
        for sleeper in self._sleepers.get(device, ()):
            sleeper.wake(word)

    def wake_all(self) -> None:
        for sleepers in self._sleepers.values():
            for sleeper in sleepers:
                sleeper.wake("")

    async def look(self) -> None:
        """Wake whoever has something to claim although no notification said so."""
        devices = iter(list(self._sleepers))

        async def work(connection: Connection) -> list[tuple[Any, ...]]:
            cursor = await connection.execute(claim_statements.WAKEABLE, [some], prepare=True)
            return await cursor.fetchall()

        with suppress(DatabaseAway):
            while some := list(islice(devices, LOOK_DEVICES)):
                for (device,) in await run(self._pool, work):
                    self.wake(device, "")

    async def look_often(self) -> None:
        """Run `look` for ever; different processes at different times."""
        while True:
            began = time.monotonic()
            await self.look()
            pause = LOOK_EVERY_S * random.uniform(0.8, 1.2)  # noqa: S311
            await asyncio.sleep(max(0.0, began + pause - time.monotonic()))

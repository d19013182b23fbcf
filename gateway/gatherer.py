"""Gathers the heartbeats that wait in this process into one statement, and answers after it."""

import asyncio
import time
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
import structlog

from gateway import counters, statements
from gateway.database import Connection, DatabaseAway, Pool, run
from gateway.heartbeat_shapes import BOOT_ID, HEALTH, SEQUENCE, TS, Beat

log = structlog.get_logger(__name__)

QUEUE_MAX = 2_000
STATEMENT_MAX = 256
# A device whose state is being written by somebody else is tried again for this long, seconds.
BUSY_PATIENCE_S = 2.0
BUSY_PAUSE_S = 0.02

_ENCODERS = [encode for _, _, encode in statements.HEARTBEAT_COLUMNS]


class Outcome:
    """What became of heartbeats; `status` is the HTTP status, `head` the answer up to the pace."""

    __slots__ = ("head", "interval_s", "status")

    def __init__(
        self,
        status: int,
        pending: int = 0,
        target: str | None = None,
        interval_s: int = 60,
        at: datetime | None = None,
    ) -> None:
        self.status = status
        self.interval_s = interval_s
        self.head = _HEAD % (pending, _encode(target), _encode(at))


_HEAD = (
    b'{"ack":true,"commands_pending":%d,"target_version":%b,"server_time":%b,"next_heartbeat_s":'
)
_encode = msgspec.json.Encoder().encode
AWAY = Outcome(503)
UNSTORABLE = Outcome(422)


class Sender(NamedTuple):
    """Who sends a heartbeat: the SHA-256 of a device token or of an API key, and for whom."""

    token: bytes | None
    api_key: bytes | None
    # The device id in the path or the body; None: the device the token belongs to.
    wanted: str | None
    # Sent at once, and not kept for later.
    live: bool


class Waiting:
    """One heartbeat on its way into a statement."""

    __slots__ = ("beat", "future", "key", "sender", "since")

    def __init__(self, sender: Sender, beat: Beat, future: "asyncio.Future[Outcome]") -> None:
        self.sender = sender
        self.beat = beat
        self.future = future
        # The same device always has the same key; strangers may share one, which costs a round.
        self.key = sender[2] or sender[0]
        self.since = 0.0


class Gatherer:
    """The queue of one process and the task that empties it, one statement at a time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: list[Waiting] = []
        self._arrived = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    @property
    def load(self) -> float:
        """How full the queue is, from 0 to 1."""
        return len(self._waiting) / QUEUE_MAX

    def has_room(self, amount: int = 1) -> bool:
        return len(self._waiting) + amount <= QUEUE_MAX

    def put(self, sender: Sender, beat: Beat) -> "asyncio.Future[Outcome]":
        """Queue one heartbeat; the future ends when it is stored or cannot be."""
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._waiting.append(Waiting(sender, beat, future))
        self._arrived.set()
        return future

    async def serve(self) -> None:
        """Store what waits, for ever."""
        while True:
            await self._arrived.wait()
            batch, groups = self._take()
            if not self._waiting:
                self._arrived.clear()
            started = time.perf_counter()
            try:
                await self._store(batch, groups)
            except Exception:
                log.exception("heartbeats_failed", heartbeats=len(batch))
                settle(batch, AWAY)
            counters.STATEMENT.observe(time.perf_counter() - started)
            counters.BATCH.observe(len(batch))
            counters.WAITING.set(len(self._waiting))

    def _take(self) -> tuple[list[Waiting], list[int]]:
        """Take the next statement's heartbeats and the number of the group each belongs to.

        Two of one device go together only where the later one stands for both; otherwise it and
        all that follow wait for the next statement, which applies them in their order.
        """
        batch: list[Waiting] = []
        groups: list[int] = []
        left: list[Waiting] = []
        last: dict[str | bytes | None, tuple[int, Waiting | None]] = {}
        for position, item in enumerate(self._waiting):
            if len(batch) >= STATEMENT_MAX:
                left.extend(self._waiting[position:])
                break
            group, before = last.get(item.key, (position, item))
            if before is None or (before is not item and not _follows(before, item)):
                last[item.key] = (group, None)
                left.append(item)
                continue
            last[item.key] = (group, item)
            batch.append(item)
            groups.append(group)
        self._waiting = left
        return batch, groups

    async def _store(self, batch: list[Waiting], groups: list[int]) -> None:
        try:
            rows = await run(self._pool, lambda connection: _statement(connection, batch, groups))
        except DatabaseAway:
            log.warning("database_away", heartbeats=len(batch))
            settle(batch, AWAY)
            return
        except psycopg.DataError as error:
            await self._store_apart(batch, groups, error)
            return
        self._settle(batch, rows)

    async def _store_apart(
        self, batch: list[Waiting], groups: list[int], error: psycopg.DataError
    ) -> None:
        """Find the heartbeat PostgreSQL refused, so that the others do not suffer from it."""
        if len(batch) == 1:
            log.warning("heartbeat_unstorable", sqlstate=error.sqlstate)
            settle(batch, UNSTORABLE)
            return
        for item, group in zip(batch, groups, strict=True):
            await self._store([item], [group])

    def _settle(self, batch: list[Waiting], groups: list[tuple[Any, ...]]) -> None:
        """Tell every heartbeat what became of it; equal answers come as one row."""
        for status, pending, target, interval, numbers, _, _, at in groups:
            items = [batch[number - 1] for number in numbers]
            settle(items, Outcome(status, pending, target or None, interval or 60, at))
        busy = [item for item in batch if not item.future.done()]
        if busy:
            self._try_again(busy)

    def _try_again(self, busy: list[Waiting]) -> None:
        """Queue heartbeats whose device's state is being written; give up after a while."""
        now = time.monotonic()
        late = [item for item in busy if item.since and now - item.since > BUSY_PATIENCE_S]
        settle(late, AWAY)
        again = [item for item in busy if not item.future.done()]
        for item in again:
            item.since = item.since or now
        self._loop.call_later(BUSY_PAUSE_S, self._requeue, again)

    def _requeue(self, busy: list[Waiting]) -> None:
        self._waiting[:0] = busy
        self._arrived.set()


def _follows(before: Waiting, item: Waiting) -> bool:
    """Say whether storing both and keeping the state of `item` equals applying them in turn."""
    if before.sender != item.sender:
        return False
    one, two = before.beat, item.beat
    if one == two:
        return True
    earlier, later = one[TS], two[TS]
    if earlier is None or later is None or one[HEALTH] != two[HEALTH]:
        return False
    if one[BOOT_ID] != two[BOOT_ID]:
        return False
    low, high = one[SEQUENCE], two[SEQUENCE]
    if low is None or high is None:
        return low is high and later > earlier
    return high > low and later >= earlier


def settle(batch: list[Waiting], outcome: Outcome) -> None:
    """End every heartbeat of the batch the same way."""
    counters.HEARTBEATS.labels(str(outcome.status)).inc(len(batch))
    for item in batch:
        if not item.future.done():
            item.future.set_result(outcome)


async def _statement(
    connection: Connection, batch: list[Waiting], groups: list[int]
) -> list[tuple[Any, ...]]:
    """Run the gathered statement and what the first use of a credential asks for."""
    rows = [(*item.sender, group, *item.beat) for item, group in zip(batch, groups, strict=True)]
    arrays = [
        encode(column)
        for encode, column in zip(_ENCODERS, zip(*rows, strict=True), strict=True)
    ]
    try:
        found = await _run(connection, arrays)
    except psycopg.errors.CheckViolation:
        # No partition for one of the days: the upkeep is late, or a day was dropped already.
        await connection.execute(statements.PARTITIONS)
        found = await _run(connection, arrays)
    await _after(connection, found)
    answered = sum([len(row[4]) for row in found])
    if answered < len(batch):
        names = [item.sender[2] for item in batch]
        await connection.execute(statements.STATE_ROWS, [names])
    return found


async def _run(connection: Connection, arrays: list[Any]) -> list[tuple[Any, ...]]:
    cursor = psycopg.AsyncRawCursor(connection)
    await cursor.execute(
        statements.HEARTBEATS, [statements.SENDING_ROLES, *arrays], prepare=True, binary=True
    )
    return await cursor.fetchall()


async def _after(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    """What is rare: a successor token's first use, and noting that an API key is used."""
    for position, statement in ((5, statements.CONFIRM), (6, statements.KEY_USED)):
        ids: list[UUID] = [row[position] for row in rows if row[position] is not None]
        if ids:
            await connection.execute(statement, [ids])

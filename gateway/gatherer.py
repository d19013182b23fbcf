"""Gathers the heartbeats that wait in this process into one statement, and answers after it."""

import asyncio
import time
from collections import Counter as Tally
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import structlog

from gateway import counters, statements
from gateway.database import Connection, DatabaseAway, Pool, run
from gateway.heartbeat_shapes import Beat

log = structlog.get_logger(__name__)

QUEUE_MAX = 2_000
STATEMENT_MAX = 256
# A device whose state is being written by somebody else is tried again for this long, seconds.
BUSY_PATIENCE_S = 2.0
BUSY_PAUSE_S = 0.02

_ENCODERS = [encode for _, _, encode in statements.HEARTBEAT_COLUMNS]
_TS, _BOOT, _SEQUENCE, _HEALTH = 0, 1, 2, 3


class Outcome(NamedTuple):
    """What became of one heartbeat; `status` is the HTTP status."""

    status: int
    commands_pending: int = 0
    target_version: str | None = None
    interval_s: int = 60


AWAY = Outcome(503)
UNSTORABLE = Outcome(422)


class Waiting:
    """One heartbeat on its way into a statement."""

    __slots__ = ("beat", "future", "key", "sender", "since")

    def __init__(
        self, sender: tuple[bytes, bool, str | None, bool], beat: Beat, future: "asyncio.Future[Outcome]"
    ) -> None:
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
        self.server_time = b""

    @property
    def load(self) -> float:
        """How full the queue is, from 0 to 1."""
        return len(self._waiting) / QUEUE_MAX

    def has_room(self, amount: int = 1) -> bool:
        return len(self._waiting) + amount <= QUEUE_MAX

    def put(
        self, credential: bytes, by_key: bool, wanted: str | None, live: bool, beat: Beat
    ) -> "asyncio.Future[Outcome]":
        """Queue one heartbeat; the future ends when it is stored or cannot be.

        `credential` is the SHA-256 of a device token or (`by_key`) of an API key; `wanted` the id
        in the path; `live` says that the heartbeat was sent at once and not kept for later.
        """
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._waiting.append(Waiting((credential, by_key, wanted, live), beat, future))
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
        last: dict[str | bytes, tuple[int, Waiting | None]] = {}
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

    def _settle(self, batch: list[Waiting], rows: list[tuple[Any, ...]]) -> None:
        busy: list[Waiting] = []
        tally: Tally[int] = Tally()
        now = time.monotonic()
        for number, status, pending, target, interval, _, _, _, _ in rows:
            item = batch[number - 1]
            if status == 503 and now - (item.since or now) < BUSY_PATIENCE_S:
                item.since = item.since or now
                busy.append(item)
                continue
            tally[status] += 1
            if not item.future.done():
                item.future.set_result(Outcome(status, pending, target or None, interval or 60))
        if rows:
            self.server_time = rows[0][8].isoformat().replace("+00:00", "Z").encode()
        for status, amount in tally.items():
            counters.HEARTBEATS.labels(str(status)).inc(amount)
        if busy:
            self._loop.call_later(BUSY_PAUSE_S, self._requeue, busy)

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
    if one.ts is None or two.ts is None or one.health != two.health or one.boot_id != two.boot_id:
        return False
    if one.sequence is None or two.sequence is None:
        return one.sequence is two.sequence and two.ts > one.ts
    return two.sequence > one.sequence and two.ts >= one.ts


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
    rows = [
        (*item.sender, group, *item.beat) for item, group in zip(batch, groups, strict=True)
    ]
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
    return found


async def _run(connection: Connection, arrays: list[Any]) -> list[tuple[Any, ...]]:
    cursor = await connection.execute(
        statements.HEARTBEATS, [statements.SENDING_ROLES, *arrays], prepare=True, binary=True
    )
    return await cursor.fetchall()


async def _after(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    """What is rare: a successor token's first use, a key's last use, a missing state row."""
    tokens: list[UUID] = [row[5] for row in rows if row[5] is not None]
    if tokens:
        await connection.execute(statements.CONFIRM, [tokens])
    keys: list[UUID] = [row[6] for row in rows if row[6] is not None]
    if keys:
        await connection.execute(statements.KEY_USED, [keys])
    busy: list[UUID] = [row[7] for row in rows if row[1] == 503]
    if busy:
        await connection.execute(statements.STATE_ROWS, [busy])

"""Gathers the heartbeats that wait in this process into one statement, and answers after it."""

import asyncio
import time
from typing import Any, NamedTuple
from uuid import UUID

import structlog

from gateway import counters, statements
from gateway.database import Connection, DatabaseAway, Pool, run
from gateway.heartbeat_rows import HEARTBEATS, PLAIN_HEARTBEATS, Reply
from gateway.heartbeat_shapes import Beat
from gateway.lane import Call, Lane, StatementFailed
from gateway.waiting import (
    AWAY,
    NOBODY,
    UNSTORABLE,
    Outcome,
    Sender,
    Tell,
    Waiting,
    follows,
    settle,
)

log = structlog.get_logger(__name__)

QUEUE_MAX = 2_000
STATEMENT_MAX = 256
# A device whose state is being written by somebody else is tried again for this long, seconds.
BUSY_PATIENCE_S = 2.0
BUSY_PAUSE_S = 0.02
# A statement costs as much as this many heartbeats in it.
STATEMENT_LEAST = 16

# No partition of the table for the row's day: a check violation.
_NO_PARTITION = "23514"
# Somebody holds the device's row: an event about the device has to wait for that.
_LOCKED = "55P03"
# Data exceptions, violated constraints, locks: the fault of one row, not of the database.
_ONE_ROWS_FAULT = {"22", "23", "55"}


class Batch(NamedTuple):
    """The heartbeats of one statement."""

    items: list[Waiting]
    call: Call[Reply]

    @property
    def is_plain(self) -> bool:
        return self.call.statement is PLAIN_HEARTBEATS


_NOTHING = Batch([], Call(HEARTBEATS, []))


class Gatherer:
    """The queue of one process, and what empties it, one statement at a time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: list[Waiting] = []
        # What PostgreSQL works on and since when; nothing while it has nothing to do.
        self._running = _NOTHING
        self._since = 0.0
        # What it is given after that, made while it works, once as much waits as there is room.
        self._next: Batch | None = None
        self._room = STATEMENT_LEAST
        self._stored = 0
        self._arrived = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    @property
    def load(self) -> float:
        """How full the queue is, from 0 to 1."""
        return len(self._waiting) / QUEUE_MAX

    def has_room(self, amount: int = 1) -> bool:
        return len(self._waiting) + amount <= QUEUE_MAX

    def put(self, sender: Sender, beat: Beat, tell: Tell) -> None:
        """Queue one heartbeat; `tell` is called once, when it is stored or cannot be."""
        self._waiting.append(Waiting(sender, beat, tell))
        if not self._running.items:
            self._arrived.set()
        elif self._next is None and len(self._waiting) >= self._room:
            self._next = self._take()

    def ask(self, sender: Sender, beat: Beat) -> "asyncio.Future[Outcome]":
        """Queue one heartbeat; the future ends when it is stored or cannot be."""
        future: asyncio.Future[Outcome] = self._loop.create_future()

        def tell(outcome: Outcome) -> None:
            if not future.done():
                future.set_result(outcome)

        self.put(sender, beat, tell)
        return future

    def close(self) -> None:
        """Refuse what waits."""
        settle(self._next.items if self._next else [], AWAY)
        settle(self._waiting, AWAY)
        self._next, self._waiting = None, []

    async def serve(self) -> None:
        """Store what waits, for ever."""
        lane = Lane(PLAIN_HEARTBEATS, HEARTBEATS)
        try:
            while True:
                while self._has_next():
                    await self._serve(lane)
                self._stored, self._running = len(self._running.items), _NOTHING
                self._arrived.clear()
                await self._arrived.wait()
        finally:
            settle(self._running.items, AWAY)
            self._running = _NOTHING
            lane.close()

    async def _serve(self, lane: Lane[Reply]) -> None:
        """Run a statement and those that follow it at once; see the last one to its end."""
        try:
            replies = await lane.run(self._advance(), self._relay)
            await self._finish(self._running, replies)
        except StatementFailed as failure:
            await self._recover(lane, self._running, failure)
        except DatabaseAway:
            log.warning("database_away", heartbeats=len(self._running.items))
            settle(self._running.items, AWAY)
        except Exception:
            log.exception("heartbeats_failed", heartbeats=len(self._running.items))
            settle(self._running.items, AWAY)
        self._count()

    def _relay(self, replies: list[Reply]) -> Call[Reply] | None:
        """Take what a statement said when all is as usual, and return the next one.

        The senders are told a moment later: first the next statement goes to PostgreSQL, which
        works while this process answers.
        """
        items = self._running.items
        said = sum(len(reply.positions) for reply in replies)
        if said < len(items) or any(reply.first_use or reply.key_use for reply in replies):
            return None
        if not self._has_next():
            return None
        self._count()
        self._loop.call_soon(self._settle, items, replies)
        return self._advance()

    def _count(self) -> None:
        """Note that the running statement has ended."""
        counters.STATEMENT.observe(time.perf_counter() - self._since)
        counters.BATCH.observe(len(self._running.items))
        counters.WAITING.set(len(self._waiting))

    def _has_next(self) -> bool:
        """Say whether there is another statement; make it, if that was not done before.

        It takes half of the devices there are at the moment, those answered last included: while
        PostgreSQL works on one half, this process answers and reads the other.
        """
        there = len(self._waiting) + (len(self._running.items) or self._stored)
        there += len(self._next.items) if self._next else 0
        self._room = min(STATEMENT_MAX, max(STATEMENT_LEAST, (there + 1) // 2))
        while self._next is None and self._waiting:
            self._next = self._take()
        return self._next is not None

    def _advance(self) -> Call[Reply]:
        """Go on to the next statement."""
        self._running, self._next = self._next or _NOTHING, None
        self._since = time.perf_counter()
        return self._running.call

    def _take(self) -> Batch | None:
        """Take the next statement's heartbeats; None when nothing can be made of them.

        Two of one device go together only where the later one stands for both; otherwise it and
        all that follow wait for the next statement, which applies them in their order.
        """
        batch: list[Waiting] = []
        left: list[Waiting] = []
        newest: dict[str | bytes | None, Waiting | None] = {}
        named = self._waiting[0].sender.wanted is not None
        room = self._room
        for position, item in enumerate(self._waiting):
            if len(batch) >= room:
                left.extend(self._waiting[position:])
                break
            before = newest.get(item.key, NOBODY)
            if before is None or (item.sender[2] is not None) is not named:
                # Under a token alone the device is not known yet: it may be one that is here.
                newest[item.key] = None
                left.append(item)
            elif before is NOBODY:
                newest[item.key] = item
                batch.append(item)
            elif follows(before, item):
                before.last = False
                newest[item.key] = item
                batch.append(item)
            else:
                newest[item.key] = None
                left.append(item)
        self._waiting = left
        try:
            return _batch(batch)
        except Exception:
            log.exception("heartbeats_failed", heartbeats=len(batch))
            settle(batch, AWAY)
            return None

    async def _finish(self, batch: Batch, replies: list[Reply]) -> None:
        """Answer one statement's heartbeats, and see to what is rare."""
        await self._note_use(replies)
        left = self._settle(batch.items, replies)
        if not left:
            return
        if batch.is_plain:
            self._leave(left)
        else:
            await self._make_state_rows(left)
            self._try_again(left)

    def _leave(self, items: list[Waiting]) -> None:
        """Give what the statement for plain ones left to the next statement, before all others."""
        following = self._next.items if self._next else []
        for item in items:
            item.unusual = True
        for item in following:
            item.last = True
        self._waiting[:0] = [*items, *following]
        self._next = None

    async def _store(self, lane: Lane[Reply], items: list[Waiting]) -> None:
        """Store and answer these heartbeats and no others."""
        batch = Batch(items, HEARTBEATS.of(map(_row, items)))
        try:
            await self._finish(batch, await lane.run(batch.call))
        except StatementFailed as failure:
            await self._recover(lane, batch, failure)

    async def _recover(self, lane: Lane[Reply], batch: Batch, failure: StatementFailed) -> None:
        """Make a missing partition, or find the one heartbeat the database refuses."""
        items = batch.items
        if batch.is_plain:
            self._leave(items)
        elif failure.sqlstate == _NO_PARTITION and not items[0].retried:
            # The upkeep is late, or the day of a late heartbeat was dropped already.
            for item in items:
                item.retried = True
            await self._aside(statements.PARTITIONS)
            await self._store(lane, items)
        elif failure.sqlstate[:2] not in _ONE_ROWS_FAULT:
            log.error("heartbeats_failed", sqlstate=failure.sqlstate, reason=str(failure))
            settle(items, AWAY)
        elif len(items) == 1:
            log.warning("heartbeat_unstorable", sqlstate=failure.sqlstate, reason=str(failure))
            settle(items, AWAY if failure.sqlstate == _LOCKED else UNSTORABLE)
        else:
            for item in items:
                item.last = True
                await self._store(lane, [item])

    async def _note_use(self, replies: list[Reply]) -> None:
        """What is rare: a successor token's first use, and noting that an API key is used."""
        tokens = [UUID(bytes=reply.first_use) for reply in replies if reply.first_use]
        if tokens:
            await self._aside(statements.CONFIRM, tokens)
        keys = [UUID(bytes=reply.key_use) for reply in replies if reply.key_use]
        if keys:
            await self._aside(statements.KEY_USED, keys)

    async def _make_state_rows(self, items: list[Waiting]) -> None:
        """Help devices that were made without the row every heartbeat writes."""
        names = [item.sender.wanted for item in items]
        tokens = [item.sender.token for item in items]
        await self._aside(statements.STATE_ROWS, names, tokens)

    async def _aside(self, statement: str, *parameters: list[Any]) -> None:
        async def work(connection: Connection) -> None:
            await connection.execute(statement, parameters)

        await run(self._pool, work)

    def _settle(self, batch: list[Waiting], replies: list[Reply]) -> list[Waiting]:
        """Tell heartbeats what became of them; return those nothing was said of.

        Equal answers come as one reply.
        """
        answered = 0
        for reply in replies:
            items = [batch[position - 1] for position in reply.positions]
            settle(items, Outcome(reply.status, reply))
            answered += len(items)
        if answered == len(batch):
            return []
        said = {position for reply in replies for position in reply.positions}
        return [item for position, item in enumerate(batch, start=1) if position not in said]

    def _try_again(self, busy: list[Waiting]) -> None:
        """Queue heartbeats whose device's state is being written; give up after a while."""
        now = time.monotonic()
        for item in busy:
            item.since = item.since or now
            item.last = True
        late = [item for item in busy if now - item.since > BUSY_PATIENCE_S]
        settle(late, AWAY)
        again = [item for item in busy if now - item.since <= BUSY_PATIENCE_S]
        self._loop.call_later(BUSY_PAUSE_S, self._requeue, again)

    def _requeue(self, busy: list[Waiting]) -> None:
        self._waiting[:0] = busy
        self._arrived.set()


def _row(item: Waiting) -> tuple[Any, ...]:
    return (*item.sender, item.last, *item.beat)


def _batch(items: list[Waiting]) -> Batch:
    """Return the heartbeats with the statement that is right for them."""
    statement = PLAIN_HEARTBEATS if all(item.is_plain for item in items) else HEARTBEATS
    return Batch(items, statement.of(map(_row, items)))

"""Gathers the heartbeats that wait in this process into one statement, and answers after it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import structlog

from gateway import counters, statements
from gateway.database import Connection, DatabaseAway, Pool, run
from gateway.heartbeat_rows import HEARTBEATS, Reply
from gateway.heartbeat_shapes import BOOT_ID, HEALTH, SEQUENCE, TS, Beat
from gateway.lane import Lane, StatementFailed

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


class Outcome:
    """What became of heartbeats; `status` is the HTTP status, `head` the answer up to the pace."""

    __slots__ = ("head", "interval_s", "status")

    def __init__(self, status: int, reply: Reply | None = None) -> None:
        self.status = status
        self.interval_s = reply.interval_s if reply else 0
        self.head = b""
        if reply and status == 200:
            target = _encode(reply.target.decode() or None)
            self.head = _HEAD % (reply.pending, target, reply.server_time)


_HEAD = (
    b'{"ack":true,"commands_pending":%d,"target_version":%b,"server_time":"%b","next_heartbeat_s":'
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


# Told what became of a heartbeat, from the event loop; must not raise.
Tell = Callable[[Outcome], None]


class Waiting:
    """One heartbeat on its way into a statement."""

    __slots__ = ("beat", "ended", "key", "last", "retried", "sender", "since", "tell")

    def __init__(self, sender: Sender, beat: Beat, tell: Tell) -> None:
        self.sender = sender
        self.beat = beat
        self.tell = tell
        self.ended = False
        # The same device always has the same key; strangers may share one, which costs a round.
        self.key = sender[2] or sender[0]
        self.since = 0.0
        self.last = True
        self.retried = False


_NOBODY = Waiting(Sender(None, None, None, live=False), (), lambda _outcome: None)


class Gatherer:
    """The queue of one process, and what empties it, one statement at a time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: list[Waiting] = []
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
        self._arrived.set()

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
        settle(self._waiting, AWAY)
        self._waiting = []

    async def serve(self) -> None:
        """Store what waits, for ever."""
        lane = Lane(HEARTBEATS)
        try:
            while True:
                await self._arrived.wait()
                batch = self._take()
                self._stored = len(batch)
                if not self._waiting:
                    self._arrived.clear()
                await self._serve(lane, batch)
        finally:
            lane.close()

    async def _serve(self, lane: Lane[Reply], batch: list[Waiting]) -> None:
        started = time.perf_counter()
        try:
            await self._store(lane, batch)
        except DatabaseAway:
            log.warning("database_away", heartbeats=len(batch))
            settle(batch, AWAY)
        except Exception:
            log.exception("heartbeats_failed", heartbeats=len(batch))
            settle(batch, AWAY)
        counters.STATEMENT.observe(time.perf_counter() - started)
        counters.BATCH.observe(len(batch))
        counters.WAITING.set(len(self._waiting))

    def _room(self) -> int:
        """Return how many heartbeats the next statement takes.

        Half of the devices there are at the moment, those answered last included: while
        PostgreSQL works on one half, this process answers and reads the other.
        """
        half = (len(self._waiting) + self._stored + 1) // 2
        return min(STATEMENT_MAX, max(STATEMENT_LEAST, half))

    def _take(self) -> list[Waiting]:
        """Take the next statement's heartbeats.

        Two of one device go together only where the later one stands for both; otherwise it and
        all that follow wait for the next statement, which applies them in their order.
        """
        batch: list[Waiting] = []
        left: list[Waiting] = []
        newest: dict[str | bytes | None, Waiting | None] = {}
        named = bool(self._waiting) and self._waiting[0].sender.wanted is not None
        room = self._room()
        for position, item in enumerate(self._waiting):
            if len(batch) >= room:
                left.extend(self._waiting[position:])
                break
            before = newest.get(item.key, _NOBODY)
            if before is None or (item.sender[2] is not None) is not named:
                # Under a token alone the device is not known yet: it may be one that is here.
                newest[item.key] = None
                left.append(item)
            elif before is _NOBODY:
                newest[item.key] = item
                batch.append(item)
            elif _follows(before, item):
                before.last = False
                newest[item.key] = item
                batch.append(item)
            else:
                newest[item.key] = None
                left.append(item)
        self._waiting = left
        return batch

    async def _store(self, lane: Lane[Reply], batch: list[Waiting]) -> None:
        """Store and answer one statement's heartbeats."""
        try:
            replies = await lane.run([(*item.sender, item.last, *item.beat) for item in batch])
            await self._note_use(replies)
            busy = self._settle(batch, replies)
            if busy:
                await self._make_state_rows(busy)
                self._try_again(busy)
        except StatementFailed as failure:
            await self._recover(lane, batch, failure)

    async def _recover(
        self, lane: Lane[Reply], batch: list[Waiting], failure: StatementFailed
    ) -> None:
        """Make a missing partition, or find the one heartbeat the database refuses."""
        if failure.sqlstate == _NO_PARTITION and not batch[0].retried:
            # The upkeep is late, or the day of a late heartbeat was dropped already.
            for item in batch:
                item.retried = True
            await self._aside(statements.PARTITIONS)
            await self._store(lane, batch)
        elif failure.sqlstate[:2] not in _ONE_ROWS_FAULT:
            log.error("heartbeats_failed", sqlstate=failure.sqlstate, reason=str(failure))
            settle(batch, AWAY)
        elif len(batch) == 1:
            log.warning("heartbeat_unstorable", sqlstate=failure.sqlstate, reason=str(failure))
            settle(batch, AWAY if failure.sqlstate == _LOCKED else UNSTORABLE)
        else:
            for item in batch:
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
        return low is high and bool(later > earlier)
    return bool(high > low and later >= earlier)


def settle(batch: list[Waiting], outcome: Outcome) -> None:
    """End every heartbeat of the batch that has not ended the same way.

    The senders are told a moment later: first the next statement goes to PostgreSQL, which works
    while this process answers.
    """
    open_ = [item for item in batch if not item.ended]
    for item in open_:
        item.ended = True
    if open_:
        counters.HEARTBEATS.labels(str(outcome.status)).inc(len(open_))
        asyncio.get_running_loop().call_soon(_tell, open_, outcome)


def _tell(items: list[Waiting], outcome: Outcome) -> None:
    for item in items:
        item.tell(outcome)

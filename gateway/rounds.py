"""Puts what many requests ask of PostgreSQL into one statement at a time."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

import structlog

from gateway import refusals, statements
from gateway.database import Connection, DatabaseAway, Pool, run
from gateway.lane import Lane, Statement, StatementFailed
from gateway.wakeups import Wakeups
from gateway.wire import Refusal

log = structlog.get_logger(__name__)

# More questions than this at once are refused before any work.
QUEUE_MAX = 10_000
STATEMENT_MAX = 128
# A statement costs as much as this many rows in it.
STATEMENT_LEAST = 8
# One that asks alone is tried this often where another process got in between.
ATTEMPTS = 3
# Data exceptions, violated constraints, locks: the fault of one row, not of the database.
_ONE_ROWS_FAULT = {"22", "23", "55"}

# The SHA-256 of a device token, and the device id in the path.
Key = tuple[bytes, str]


class Reply(Protocol):
    """What every statement of this kind says."""

    @property
    def i(self) -> int:
        """Which question it answers, counted from 1."""

    @property
    def matches(self) -> bool:
        """The credential's device is the one in the path."""

    @property
    def device(self) -> UUID: ...

    @property
    def first_use(self) -> UUID | None:
        """A successor token that was never used before."""


OneReply = TypeVar("OneReply", bound=Reply)
Result = TypeVar("Result")


class Ask(Generic[Result]):
    """One question of one request; `number` is the third column of its statement."""

    __slots__ = ("future", "key", "number")

    def __init__(self, key: Key, number: int) -> None:
        self.key = key
        self.number = number
        self.future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    def settle(self, result: Result) -> None:
        if not self.future.done():
            self.future.set_result(result)

    def refuse(self, refusal: Refusal) -> None:
        if not self.future.done():
            self.future.set_exception(refusal)


OneAsk = TypeVar("OneAsk", bound=Ask[Any])


class Group(NamedTuple, Generic[OneAsk]):
    """Those who ask the same: one row of the statement."""

    key: Key
    asks: list[OneAsk]


class Rounds(ABC, Generic[OneAsk, OneReply]):
    """The questions of one process, answered round by round after each one's commit."""

    def __init__(self, *, statement: Statement[OneReply], pool: Pool, wakeups: Wakeups) -> None:
        self._statement = statement
        self._pool = pool
        self._wakeups = wakeups
        self._asked: dict[Key, list[OneAsk]] = {}
        self._queued = 0
        self._answered = 0
        self._arrived = asyncio.Event()

    @abstractmethod
    def tell(self, asks: list[OneAsk], replies: list[OneReply], heard: set[UUID]) -> None:
        """Answer those who asked the same; `heard` are the devices woken during the round.

        What is done here is done before anything else happens in the event loop.
        """

    @abstractmethod
    def number(self, asks: list[OneAsk]) -> int:
        """Return the third column for those who ask the same."""

    def put(self, ask: OneAsk) -> None:
        """Queue a question; its future ends with the answer, or with a refusal."""
        if self._queued >= QUEUE_MAX:
            raise refusals.overloaded()
        self._asked.setdefault(ask.key, []).append(ask)
        self._queued += 1
        self._arrived.set()

    def close(self) -> None:
        """Refuse what waits."""
        for asks in self._asked.values():
            _refuse(asks, refusals.overloaded())
        self._asked = {}
        self._queued = 0

    async def serve(self) -> None:
        """Answer what is asked, for ever."""
        lane = Lane(self._statement)
        try:
            while True:
                await self._arrived.wait()
                groups = self._take()
                if not self._asked:
                    self._arrived.clear()
                if groups:
                    await self._answer(lane, groups)
        finally:
            lane.close()

    def _take(self) -> list[Group[OneAsk]]:
        """Take the next round's questions, without those nobody waits for any more.

        Half of the askers there are at the moment, those answered last included: while PostgreSQL
        works on one half, this process answers and reads the other.
        """
        half = (len(self._asked) + self._answered + 1) // 2
        room = min(STATEMENT_MAX, max(STATEMENT_LEAST, half))
        groups: list[Group[OneAsk]] = []
        while self._asked and len(groups) < room:
            key = next(iter(self._asked))
            asked = self._asked.pop(key)
            self._queued -= len(asked)
            asks = [ask for ask in asked if not ask.future.done()]
            if asks:
                groups.append(Group(key, asks))
        self._answered = len(groups)
        return groups

    async def _answer(self, lane: Lane[OneReply], groups: list[Group[OneAsk]]) -> None:
        try:
            await self._round(lane, groups)
        except DatabaseAway:
            log.warning("database_away", asked=len(groups))
        except Exception:
            log.exception("round_failed", asked=len(groups))
        finally:
            left = [ask for group in groups for ask in group.asks if not ask.future.done()]
            if left:
                _refuse(left, refusals.overloaded())

    async def _round(
        self, lane: Lane[OneReply], groups: list[Group[OneAsk]], attempt: int = 1
    ) -> None:
        try:
            with self._wakeups.heard() as heard:
                rows = [(*group.key, self.number(group.asks)) for group in groups]
                replies = await lane.run(self._statement.of(rows))
                await self._confirm(replies)
                self._settle(groups, replies, heard)
        except StatementFailed as failure:
            if failure.sqlstate[:2] not in _ONE_ROWS_FAULT:
                raise
            if len(groups) > 1:
                for group in groups:
                    await self._round(lane, [group])
            elif attempt < ATTEMPTS:
                await self._round(lane, groups, attempt + 1)
            else:
                log.warning("row_refused", sqlstate=failure.sqlstate, reason=str(failure))

    def _settle(
        self, groups: list[Group[OneAsk]], replies: list[OneReply], heard: set[UUID]
    ) -> None:
        said: dict[int, list[OneReply]] = {}
        for reply in replies:
            said.setdefault(reply.i, []).append(reply)
        for i, group in enumerate(groups, start=1):
            own = said.get(i)
            if own is None:
                _refuse(group.asks, refusals.unknown_caller(by_key=False))
            elif not own[0].matches:
                _refuse(group.asks, refusals.not_found())
            else:
                self.tell(group.asks, own, heard)

    async def _confirm(self, replies: list[OneReply]) -> None:
        """Note the first use of successor tokens."""
        tokens = list({reply.first_use for reply in replies if reply.first_use})
        if not tokens:
            return

        async def work(connection: Connection) -> None:
            await connection.execute(statements.CONFIRM, [tokens])

        await run(self._pool, work)


def _refuse(asks: Iterable[Ask[Any]], refusal: Refusal) -> None:
    for ask in asks:
        ask.refuse(refusal)

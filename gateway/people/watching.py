"""Everybody who watches, and the one thread of the process that looks for all of them.

It reads the trails once a second while there is a stream, and then the rows for each sight.
"""

import asyncio
import threading
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog
from asgiref.sync import sync_to_async
from django.db import DatabaseError

from accounts.principals import is_still
from common import clock, limits
from common.db import connection_release
from common.errors import DomainError
from gateway import counters
from gateway.people.looks import News, missed_of, news_of, present_of
from gateway.people.trails import LAG, Happened, Trails
from gateway.people.watcher import COMMENT, Watcher

log = structlog.get_logger(__name__)

# Where a request finds the streams of its process: a member of the ASGI scope.
WATCHING = "fleet.watching"
LOOK_EVERY_S = 1.0
# Rights may end while a stream is open: they are read again this often.
RIGHTS_EVERY_S = 15.0
# After a longer break somebody who comes back has to look for themselves.
REPLAY = timedelta(minutes=10)

Sight = tuple[Any, ...]
Given = TypeVar("Given")
Done = TypeVar("Done")


class TooManyStreams(DomainError):
    """The caller, or all callers together, have as many streams as one process gives."""

    code = "too_many_streams"
    http_status = 429


class Watching:
    """The open streams of people and API keys in one process."""

    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()
        # Streams are admitted and forgotten by the threads of their requests.
        self._lock = threading.Lock()
        self._someone = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="watching")
        self._trails = Trails()
        self._reads = False
        self._rights_at = 0.0
        self._ending = False

    @property
    def amount(self) -> int:
        """How many streams are open."""
        return len(self._watchers)

    def admit(self, watcher: Watcher) -> None:
        """Count a stream; refuse one too many with TooManyStreams."""
        with self._lock:
            callers = Counter(one.principal.id for one in self._watchers)
            if callers[watcher.principal.id] >= limits.STREAMS_PER_CALLER:
                raise TooManyStreams(
                    f"There are {limits.STREAMS_PER_CALLER} streams open for you. Close one first."
                )
            if self._ending or len(self._watchers) >= limits.STREAMS_OF_PEOPLE:
                raise TooManyStreams("There is no stream to give. Try again in a minute.")
            self._watchers.add(watcher)
            counters.WATCHERS.set(len(self._watchers))

    def leave(self, watcher: Watcher) -> None:
        """Forget a stream."""
        with self._lock:
            self._watchers.discard(watcher)
            counters.WATCHERS.set(len(self._watchers))

    async def events(self, watcher: Watcher) -> AsyncIterator[bytes]:
        """Yield the stream: what is, then what changes, until its time is over."""
        # The request's own thread has read who asks, and is kept as long as the stream.
        await sync_to_async(connection_release)()
        watcher.task = asyncio.current_task()
        until = asyncio.get_running_loop().time() + limits.STREAM_LIFE_S
        self._someone.set()
        try:
            now, missed, news = await self._in_thread(opening, watcher)
        except DatabaseError:
            yield watcher.bye()
            return
        yield watcher.hello(now, news, missed=missed)
        while not watcher.ended:
            left = until - asyncio.get_running_loop().time()
            if left <= 0:
                break
            try:
                async with asyncio.timeout(min(left, limits.STREAM_COMMENT_S)):
                    await watcher.woken.wait()
            except TimeoutError:
                yield COMMENT
            else:
                yield watcher.take()
        yield watcher.bye()

    async def serve(self) -> None:
        """Look once a second while somebody watches, for ever."""
        while True:
            await self._someone.wait()
            began = time.monotonic()
            try:
                await self._round()
            except DatabaseError as error:
                # What happens meanwhile is in the trails when the database is back.
                log.warning("look_missed", reason=type(error).__name__)
            await asyncio.sleep(max(0.0, began + LOOK_EVERY_S - time.monotonic()))

    async def _round(self) -> None:
        watchers = self._all()
        news, without_right = await self._in_thread(self._look, watchers)
        for watcher in watchers:
            self._tell(watcher, news.get(watcher.sight, []))
        for watcher in without_right:
            watcher.end()
        if not watchers:
            self._someone.clear()

    def end(self) -> None:
        """End every stream: the process is about to stop."""
        self._ending = True
        for watcher in self._all():
            watcher.end()

    def close(self) -> None:
        """Give the thread back."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _all(self) -> list[Watcher]:
        with self._lock:
            return list(self._watchers)

    def _tell(self, watcher: Watcher, news: list[News]) -> None:
        if watcher.is_open:
            watcher.hear(news)
        if watcher.is_stuck and watcher.task is not None:
            log.info("stream_stuck", caller=watcher.principal.label)
            watcher.task.cancel()

    async def _in_thread(self, work: Callable[[Given], Done], given: Given) -> Done:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, _closing, work, given)

    def _look(self, watchers: list[Watcher]) -> tuple[dict[Sight, list[News]], list[Watcher]]:
        """Return what is new for each sight, and whose right has ended."""
        if not watchers:
            self._reads = False
            return {}, []
        now = clock.now()
        if not self._reads:
            self._trails.begin(now)
            self._reads = True
        happened = self._trails.news()
        groups: dict[Sight, list[Watcher]] = defaultdict(list)
        for watcher in watchers:
            groups[watcher.sight].append(watcher)
        news = {sight: _news_for(group, happened) for sight, group in groups.items()}
        return news, self._without_right(watchers, now)

    def _without_right(self, watchers: list[Watcher], now: datetime) -> list[Watcher]:
        if time.monotonic() - self._rights_at < RIGHTS_EVERY_S:
            return []
        self._rights_at = time.monotonic()
        return [watcher for watcher in watchers if not is_still(watcher.principal, now)]


def opening(watcher: Watcher) -> tuple[datetime, bool, list[News]]:
    """Return the time, whether more was missed than is kept, and what a stream begins with."""
    now = clock.now()
    news = present_of(watcher.principal, watcher.about)
    if watcher.since is None:
        return now, False, news
    is_long_ago = watcher.since < now - REPLAY
    missed = [] if is_long_ago else missed_of(watcher.principal, watcher.since - LAG)
    return now, is_long_ago, [*missed, *news]


def _closing(work: Callable[[Given], Done], given: Given) -> Done:
    try:
        return work(given)
    finally:
        # A connection of the pool is for whoever works; between two looks that is somebody else.
        connection_release()


def _news_for(group: list[Watcher], happened: dict[Any, Happened]) -> list[News]:
    """Return what is new for watchers with the same sight."""
    principal = group[0].principal
    asked = frozenset().union(*(watcher.about for watcher in group))
    if principal.sees_all:
        parts = list(happened.values())
    else:
        parts = [happened[one] for one in [principal.organization_id] if one in happened]
    seen = Happened()
    for part in parts:
        seen.add(part if asked else replace(part, updates=set(), commands=set()))
    # Nothing tells of a batch that is paused or waits for its next wave.
    seen.batches |= asked
    return news_of(principal, seen)

"""One open stream: what it told, and what waits to be told."""

import asyncio
import random
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from accounts.principals import Principal
from gateway.people.looks import News

# A reader that has taken nothing for this long while there was something is gone.
PATIENCE_S = 30.0
# Events that wait for one reader; of more, none: the reader hears that it missed some.
WAITING_MAX = 1_000
# Milliseconds until the next stream should be opened, at most.
RETRY_MS = 2_000
COMMENT = b": still here\n\n"
_encode = msgspec.json.Encoder().encode


class Watcher:
    """A stream keeps no history, just the newest truth of each thing it told."""

    def __init__(
        self, principal: Principal, about: frozenset[UUID], since: datetime | None
    ) -> None:
        self.principal = principal
        # Keys of a rollout, a device or a batch; none: all there is, but no details.
        self.about = about
        # When the last event of an earlier stream was sent.
        self.since = since
        # It hears what happens from the moment on that it was told what is.
        self.is_open = False
        self.ended = False
        # Who sends it; known once it has begun.
        self.task: asyncio.Task[Any] | None = None
        self.woken = asyncio.Event()
        self._last_id = _microseconds(since) if since else 0
        self._news: list[News] = []
        self._missed = False
        self._told: dict[str, dict[str, Any]] = {}
        self._waits_since: float | None = None

    @property
    def sight(self) -> tuple[Any, ...]:
        """What decides which rows are seen: those of the same sight are looked for at once."""
        who = self.principal
        return (who.organization_id, who.sees_all, who.role, who.id if who.limited else None)

    @property
    def is_stuck(self) -> bool:
        """Say whether its reader takes nothing."""
        since = self._waits_since
        return since is not None and time.monotonic() - since > PATIENCE_S

    def hello(self, now: datetime, news: Iterable[News], *, missed: bool) -> bytes:
        """Return how the stream begins; from here on it hears what happens."""
        self.is_open = True
        self._missed = missed
        self.hear(news)
        organization = self.principal.organization
        begins = {"server_time": now, "organization": organization and organization.slug}
        return self._written("hello", begins) + self.take()

    def hear(self, news: Iterable[News]) -> None:
        """Take what concerns this stream and is new to it."""
        for one in news:
            if one.about.isdisjoint(self.about) and (self.about or one.detailed):
                continue
            if one.key:
                if self._told.get(one.key) == one.data:
                    continue
                self._told[one.key] = one.data
            self._news.append(one)
        if len(self._news) > WAITING_MAX:
            self._news, self._missed = [], True
            self._told.clear()
        if self._news or self._missed:
            self._waits_since = self._waits_since or time.monotonic()
            self.woken.set()

    def take(self) -> bytes:
        """Return what waits, as it stands in the stream."""
        news, self._news = self._news, []
        missed, self._missed = self._missed, False
        self._waits_since = None
        self.woken.clear()
        begins = self._written("missed", {}) if missed else b""
        return begins + b"".join(self._written(one.name, one.data) for one in news)

    def end(self) -> None:
        """Let it say good-bye."""
        self.ended = True
        self.woken.set()

    def bye(self) -> bytes:
        """Return how the stream ends; browsers heed the `retry` line by themselves."""
        retry_ms = random.randint(RETRY_MS // 4, RETRY_MS)  # noqa: S311 - spreads reconnects
        return b"retry: %d\n" % retry_ms + self._written("bye", {"retry_ms": retry_ms})

    def _written(self, name: str, data: dict[str, Any]) -> bytes:
        """Return an event with an id above all before: the moment, in microseconds."""
        self._last_id = max(self._last_id + 1, time.time_ns() // 1_000)
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (self._last_id, name.encode(), _encode(data))


def moment_of(last_event_id: str, now: datetime) -> datetime | None:
    """Return when the event of that id was sent; None when it is none of ours."""
    if not last_event_id.isascii() or not last_event_id.isdigit() or len(last_event_id) > 18:
        return None
    try:
        moment = datetime.fromtimestamp(int(last_event_id) / 1_000_000, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment if moment <= now else None


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)

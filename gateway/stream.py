"""Tells devices at once what there is for them: server-sent events, the truth from PostgreSQL.

A notification only wakes; what is told is looked up. A stream keeps no queue of events, just what
it told last, so a slow reader costs nothing: it hears the newest truth, or is dropped.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec

from common import limits
from gateway import claim_rows, counters, refusals
from gateway.claim_rows import OpenUpdate, Truth
from gateway.database import Pool
from gateway.rounds import Ask, Key, Rounds
from gateway.wakeups import Sleeper, Wakeups
from gateway.wire import Asked, Receive, Refusal, Send, read_body
from releases.models import DeviceUpdate

STREAMS_MAX = 10_000
LIFE_S = limits.STREAM_LIFE_S
COMMENT_EVERY_S = limits.STREAM_COMMENT_S
# A reader that takes nothing for this long, seconds, is gone or too slow.
SEND_PATIENCE_S = 10.0
# Milliseconds until a device should open the next stream, at most: after one that was told to
# end, and after a stop, when all devices come at once.
RETRY_MS = 2_000
RETRY_STOPPED_MS = 15_000
_BODY_BYTES = 1_024
_COMMENT = b": still here\n\n"
_ROLLBACK = DeviceUpdate.Kind.ROLLBACK.value
# Numbers that are no time of this clock would make all that follow meaningless.
_AHEAD_US = 86_400_000_000
_encode = msgspec.json.Encoder().encode

Event = tuple[str, dict[str, Any]]


class Stream(Sleeper):
    """One open stream and what it told its device."""

    __slots__ = (
        *("cancels", "device", "ended", "key", "last_id"),
        *("opened", "pending", "renewed", "tell_again", "update"),
    )

    def __init__(self, key: Key, last_id: int) -> None:
        super().__init__()
        self.key = key
        self.last_id = last_id
        self.device: UUID | None = None
        # PostgreSQL's clock at the first look, microseconds since 1970.
        self.opened = 0
        self.pending = 0
        self.cancels: set[tuple[str, int]] = set()
        self.update: OpenUpdate | None = None
        # Something was queued since the last look began: the same count may stand for another
        # command. `tell_again` is what that was when the look began.
        self.renewed = self.tell_again = False
        # The most milliseconds until the next stream; None while this one goes on.
        self.ended: int | None = None

    def wake(self, word: str) -> None:
        self.renewed = self.renewed or word == "queued"
        super().wake(word)

    def end(self, retry_ms: int) -> None:
        self.ended = retry_ms
        super().wake("")

    def written(self, event: Event) -> bytes:
        """Return an event as it stands in the stream, with an id above all before."""
        self.last_id = max(self.last_id + 1, time.time_ns() // 1_000)
        name, data = event
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (self.last_id, name.encode(), _encode(data))


def _command_queued(stream: Stream, truth: Truth) -> Iterator[Event]:
    if truth.pending and (stream.tell_again or truth.pending != stream.pending):
        yield "command_queued", {"pending": truth.pending}
    stream.pending = truth.pending


def _cancel_requested(stream: Stream, truth: Truth) -> Iterator[Event]:
    for command, attempt in truth.cancels:
        if (command, attempt) not in stream.cancels:
            yield "cancel_requested", {"command": command, "attempt": attempt}
    stream.cancels = set(truth.cancels)


def _update_changed(stream: Stream, truth: Truth) -> Iterator[Event]:
    told, now = stream.update, truth.update
    stream.update = now
    if now is None:
        return
    is_new = told is None or told.id != now.id
    if now.is_paused:
        if is_new or (told and not told.is_paused):
            yield "pause", {"update_id": now.id}
        return
    if told and not is_new and told.is_paused:
        yield "resume", {"update_id": now.id}
    if is_new or (told and told.is_paused):
        name = "rollback" if now.kind == _ROLLBACK else "update_available"
        yield name, {"update_id": now.id, "version": now.version}


# What a stream tells: each compares the truth with what was told. Another kind of event is another
# one here, and a column of the statement.
KINDS: list[Callable[[Stream, Truth], Iterator[Event]]] = [
    _command_queued,
    _cancel_requested,
    _update_changed,
]


class Look(Ask[Truth]):
    """One look at what the device should know."""

    __slots__ = ("stream",)

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream.key, 0 if stream.opened else 1)
        self.stream = stream


class Streams(Rounds[Look, Truth]):
    """The streams of one process, at most one per device."""

    def __init__(self, *, pool: Pool, wakeups: Wakeups) -> None:
        super().__init__(statement=claim_rows.STREAMS, pool=pool, wakeups=wakeups)
        self._open: dict[UUID, Stream] = {}
        self._amount = 0
        self._ending = False
        wakeups.on["stream"] = self._opened_elsewhere

    @property
    def amount(self) -> int:
        """How many streams are open."""
        return self._amount

    async def stream(
        self, asked: Asked, receive: Receive, send: Send, device_id: str, last_id: bytes
    ) -> None:
        """GET devices/{id}/stream: events until the device hangs up or the time is over."""
        if not asked.token:
            raise refusals.no_caller("X-Device-Token")
        if self._amount >= STREAMS_MAX or self._ending:
            raise refusals.overloaded()
        await read_body(asked, receive, _BODY_BYTES)
        key = (sha256(asked.token).digest(), device_id)
        stream = Stream(key, _last(last_id))
        self._count(1)
        try:
            truth = await self._look(stream)
            await _started(send, asked)
            with suppress(TimeoutError):
                await self._go_on(stream, truth, receive, send)
        finally:
            self._count(-1)
            self._forget(stream)

    async def _go_on(self, stream: Stream, truth: Truth, receive: Receive, send: Send) -> None:
        """Tell what is new until the end; raises TimeoutError when the reader takes nothing."""
        until = asyncio.get_running_loop().time() + LIFE_S
        hello = {"server_time": truth.server_time, "pending": truth.pending}
        await _write(send, stream.written(("hello", hello)) + _news(stream, truth))
        while True:
            comment_at = asyncio.get_running_loop().time() + COMMENT_EVERY_S
            if await stream.sleep(receive, min(until, comment_at)):
                return
            if stream.ended is not None:
                break
            if stream.woken:
                try:
                    await _write(send, _news(stream, await self._look(stream)))
                except Refusal:
                    # The next stream is refused with the reason, or finds the database back.
                    stream.end(RETRY_STOPPED_MS)
            elif comment_at < until:
                await _write(send, _COMMENT)
            else:
                stream.end(RETRY_MS)
        retry_ms = random.randint(0, stream.ended)  # noqa: S311 - spreads reconnects
        await _write(send, stream.written(("bye", {"retry_ms": retry_ms})), last=True)

    async def _look(self, stream: Stream) -> Truth:
        stream.tell_again, stream.renewed, stream.woken = stream.renewed, False, False
        look = Look(stream)
        self.put(look)
        return await look.future

    def number(self, asks: list[Look]) -> int:
        return max(look.number for look in asks)

    def tell(self, asks: list[Look], replies: list[Truth], heard: set[UUID]) -> None:
        (truth,) = replies
        for look in asks:
            if not look.future.done():
                self._remember(look.stream, truth, heard)
                look.settle(truth)

    def _remember(self, stream: Stream, truth: Truth, heard: set[UUID]) -> None:
        if stream.device is not None:
            return
        stream.device, stream.opened = truth.device, truth.at
        earlier = self._open.get(truth.device)
        if earlier is not None:
            earlier.end(RETRY_STOPPED_MS)
        self._open[truth.device] = stream
        self._wakeups.add(truth.device, stream)
        if truth.device in heard:
            stream.wake("queued")

    def _opened_elsewhere(self, device: UUID, opened: str) -> None:
        """End a stream of a device that opened a later one, at whichever gateway."""
        stream = self._open.get(device)
        if stream is not None and opened.isdigit() and stream.opened < int(opened):
            stream.end(RETRY_STOPPED_MS)

    def _forget(self, stream: Stream) -> None:
        if stream.device is not None:
            self._wakeups.discard(stream.device, stream)
            if self._open.get(stream.device) is stream:
                del self._open[stream.device]

    def _count(self, more: int) -> None:
        self._amount += more
        counters.STREAMS.set(self._amount)

    def end(self) -> None:
        """End every stream: the process is about to stop."""
        self._ending = True
        for stream in self._open.values():
            stream.end(RETRY_STOPPED_MS)


def _news(stream: Stream, truth: Truth) -> bytes:
    return b"".join(stream.written(event) for kind in KINDS for event in kind(stream, truth))


def _last(sent: bytes) -> int:
    """Return the number of Last-Event-ID, 0 when it is none of ours."""
    number = int(sent) if sent.isdigit() and len(sent) < 20 else 0
    return number if number < time.time_ns() // 1_000 + _AHEAD_US else 0


async def _started(send: Send, asked: Asked) -> None:
    headers = [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        # A proxy that gathers answers would keep the events to itself.
        (b"x-accel-buffering", b"no"),
        (b"x-request-id", asked.request_id),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _write(send: Send, body: bytes, *, last: bool = False) -> None:
    if body or last:
        async with asyncio.timeout(SEND_PATIENCE_S):
            await send({"type": "http.response.body", "body": body, "more_body": not last})

"""The ASGI application in front of Django: the hot device paths are its own, the rest is not."""

import asyncio
import gc
import re
import signal
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from common import limits
from gateway import refusals
from gateway.background import for_ever, listen, pulse
from gateway.claims import Claims
from gateway.database import abandoned_end, make_pool
from gateway.gatherer import Gatherer
from gateway.heartbeats import Heartbeats
from gateway.people.watching import WATCHING, Watching
from gateway.stream import Streams
from gateway.wakeups import Wakeups
from gateway.wire import Asked, Receive, Refusal, Scope, Send, refuse

log = structlog.get_logger(__name__)

# Django types its handler more loosely than it calls it.
ASGIApplication = Callable[[Scope, Any, Any], Awaitable[None]]

_PREFIX = "/api/v1/devices/"
_HEARTBEAT = "/heartbeat"
_CLAIM = "/commands/claim"
_STREAM = "/stream"
_STATUS = "/api/v1/telemetry/status"
_BATCH = "/api/v1/telemetry/batch"
_PEOPLE = "/api/v1/stream"
_is_device_id = re.compile(limits.DEVICE_ID_PATTERN).fullmatch
_START = len(_PREFIX)
# New objects between two collections of the youngest; Python's own choice is 700.
_COLLECT_AFTER = 10_000


class Running:
    """What lives from start to stop in one event loop."""

    def __init__(self) -> None:
        self.pool = make_pool()
        self.gatherer = Gatherer(self.pool)
        self.wakeups = Wakeups(self.pool)
        self.claims = Claims(pool=self.pool, wakeups=self.wakeups)
        self.streams = Streams(pool=self.pool, wakeups=self.wakeups)
        self.heartbeats = Heartbeats(gatherer=self.gatherer, pool=self.pool)
        self.watching = Watching()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.pool.open(wait=False)
        work: dict[str, Callable[[], Awaitable[None]]] = {
            "gather": self.gatherer.serve,
            "claim": self.claims.serve,
            "stream": self.streams.serve,
            "watch": self.watching.serve,
            "listen": lambda: listen(self.wakeups),
            "look": self.wakeups.look_often,
            "pulse": lambda: pulse(self.pool),
        }
        self._tasks = [asyncio.create_task(for_ever(name, do)) for name, do in work.items()]

    def end_waits(self) -> None:
        """Answer claims that wait and end streams: the process is about to stop."""
        self.claims.end()
        self.streams.end()
        self.watching.end()
        self.wakeups.wake_all()

    async def stop(self) -> None:
        self.end_waits()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for queue in (self.gatherer, self.claims, self.streams):
            queue.close()
        self.watching.close()
        await abandoned_end(within_s=2)
        await self.pool.close(timeout=2)


class Gateway:
    """An ASGI application that answers the gateway's paths and hands on everything else."""

    def __init__(self, django: ASGIApplication) -> None:
        self._django = django
        self._running: Running | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            await self._django(scope, receive, send)
            return
        path: str = scope["path"]
        if path.startswith(_PREFIX):
            if path.endswith(_HEARTBEAT):
                await self._own(scope, receive, send, _HEARTBEAT, path[_START : -len(_HEARTBEAT)])
                return
            for end in (_CLAIM, _STREAM):
                if path.endswith(end):
                    await self._own(scope, receive, send, end, path[_START : -len(end)])
                    return
        elif path in (_STATUS, _BATCH):
            await self._own(scope, receive, send, path, "")
            return
        await self._hand_on(scope, receive, send)

    async def _hand_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == _PEOPLE:
            # Django knows who asks; the stream lives here.
            running = self._running or await self.start()
            scope = {**scope, WATCHING: running.watching}
        await self._django(scope, receive, send)

    async def _own(
        self, scope: Scope, receive: Receive, send: Send, path: str, device_id: str
    ) -> None:
        asked = Asked(scope["headers"])
        method = "GET" if path is _STREAM else "POST"
        if scope["method"] != method:
            await refuse(send, asked, refusals.method(method))
            return
        try:
            running = self._running or await self.start()
            if path is _HEARTBEAT:
                _check(device_id)
                await running.heartbeats.one(asked, receive, send, device_id)
            elif path is _CLAIM:
                _check(device_id)
                await running.claims.claim(asked, receive, send, device_id, scope["query_string"])
            elif path is _STREAM:
                _check(device_id)
                last_id = dict(scope["headers"]).get(b"last-event-id", b"")
                await running.streams.stream(asked, receive, send, device_id, last_id)
            elif path == _STATUS:
                await running.heartbeats.status(asked, receive, send)
            else:
                await running.heartbeats.batch(asked, receive, send)
        except Refusal as refusal:
            await refuse(send, asked, refusal)
        except Exception:
            log.exception("gateway_failed", path=path, request_id=asked.request_id.decode())
            await refuse(send, asked, refusals.internal())

    @property
    def heartbeats(self) -> Heartbeats | None:
        """What answers heartbeats; None while nothing runs."""
        return self._running.heartbeats if self._running else None

    async def start(self) -> Running:
        """Start the queue and the background work in the running event loop."""
        if self._running is None:
            self._running = Running()
            await self._running.start()
        return self._running

    async def stop(self) -> None:
        """Answer who waits, end the background work, close the connections."""
        running, self._running = self._running, None
        if running is not None:
            await running.stop()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message: dict[str, Any] = await receive()
            if message["type"] == "lifespan.startup":
                running = await self.start()
                _end_waits_at_exit(running)
                _collect_less()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _collect_less() -> None:
    """Keep the collector off what lives for ever: walking it stops every request for 0.1 s."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 50)


def _end_waits_at_exit(running: Running) -> None:
    """End waits as soon as the server is told to stop: it waits for open requests first."""
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)
        if callable(before):
            signal.signal(number, _ends_waits(running, loop, before))


def _ends_waits(
    running: Running, loop: asyncio.AbstractEventLoop, before: Callable[[int, Any], Any]
) -> Callable[[int, Any], None]:
    def handle(number: int, frame: Any) -> None:
        loop.call_soon_threadsafe(running.end_waits)
        before(number, frame)

    return handle


def _check(device_id: str) -> None:
    if not _is_device_id(device_id):
        raise refusals.not_found()

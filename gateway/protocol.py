"""uvicorn's HTTP protocol with a short way for plain heartbeats: no ASGI cycle, no task.

Per request uvicorn makes a scope, a cycle, a task and a timer; together they cost more than all
the gateway does for a heartbeat. A heartbeat that is plain HTTP/1.1 and has its turn is answered
here by the same `Heartbeats` as behind ASGI. Everything else is uvicorn's, untouched.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from common import limits
from gateway import refusals
from gateway.application import Gateway
from gateway.heartbeats import Heartbeats
from gateway.waiting import Outcome, Sender
from gateway.wire import Answer, Asked, Refusal, problem_of, success

log = structlog.get_logger(__name__)

_DEVICE_ID = limits.DEVICE_ID_PATTERN.removeprefix("^").removesuffix("$")
_heartbeat = re.compile(f"/api/v1/devices/({_DEVICE_ID})/heartbeat".encode()).fullmatch
_NOBODY_WAITS = asyncio.Event()


class Turn(RequestResponseCycle):
    """One heartbeat from its head to its answer.

    It stands where uvicorn looks for the request under way, so that what comes behind it on the
    connection waits, and so that a lost connection and the server's end are told to it.
    """

    def __init__(self, heartbeats: Heartbeats, asked: Asked, device_id: str) -> None:
        # Not the parent's: that is what costs.
        self.heartbeats = heartbeats
        self.asked = asked
        self.device_id = device_id
        self.pieces: list[bytes] = []
        self.message_event = _NOBODY_WAITS
        self.disconnected = False
        self.keep_alive = True
        self.response_complete = False

    def ask(self, tell: Callable[[Sender, Outcome], None]) -> None:
        """Queue the heartbeat, or refuse it."""
        sender = self.heartbeats.admit(self.asked, self.device_id)
        self.heartbeats.put(sender, b"".join(self.pieces), partial(tell, sender))

    def names(self) -> dict[str, str]:
        """Return what a log line says of it."""
        return {"path": "/heartbeat", "request_id": self.asked.request_id.decode()}


class GatewayProtocol(HttpToolsProtocol):
    """One connection to the gateway."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._gateway = self._plain_gateway()
        # The heartbeat whose body is coming in.
        self._taking: Turn | None = None
        # Since when the connection is idle after an answer from here, in the loop's seconds. One
        # timer that looks at it now and then is cheaper than one per request.
        self._idle_since: float | None = None
        self._idle_check: asyncio.TimerHandle | None = None
        # uvicorn's own headers, as a list that is replaced every second, and as they are sent.
        self._default: tuple[list[tuple[bytes, bytes]], bytes] = ([], b"")

    def _plain_gateway(self) -> Gateway | None:
        """Return the gateway this server runs; None when every request has to go through ASGI."""
        app: Any = self.app
        if isinstance(app, ProxyHeadersMiddleware):
            app = app.app  # It changes nothing a heartbeat looks at.
        is_logged = self.access_log and self.access_logger.isEnabledFor(logging.INFO)
        needs_all = is_logged or self.root_path or self.limit_concurrency is not None
        return app if isinstance(app, Gateway) and not needs_all else None

    def data_received(self, data: bytes) -> None:
        self._idle_since = None
        super().data_received(data)

    def on_headers_complete(self) -> None:
        self._taking = self._plain_heartbeat()
        if self._taking is None:
            super().on_headers_complete()
        else:
            self.cycle = self._taking

    def on_body(self, body: bytes) -> None:
        if self._taking is None:
            super().on_body(body)
        else:
            self._taking.pieces.append(body)

    def on_message_complete(self) -> None:
        turn, self._taking = self._taking, None
        if turn is None:
            super().on_message_complete()
            return
        try:
            turn.ask(partial(self._told, turn))
        except Refusal as refusal:
            self._write(turn, problem_of(turn.asked, refusal))
        except Exception:
            log.exception("gateway_failed", **turn.names())
            self._write(turn, problem_of(turn.asked, refusals.internal()))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._idle_check is not None:
            self._idle_check.cancel()

    def _plain_heartbeat(self) -> Turn | None:
        """Return the turn of a heartbeat that needs nothing of uvicorn."""
        found = _heartbeat(self.url)
        heartbeats = self._gateway and self._gateway.heartbeats
        if found is None or not heartbeats:
            return None
        parser = self.parser
        if (
            parser.get_method() != b"POST"
            or parser.get_http_version() != "1.1"
            or not parser.should_keep_alive()
            or parser.should_upgrade()
            or self.expect_100_continue
            or self.flow.write_paused
            or not (self.cycle is None or self.cycle.response_complete)
        ):
            return None
        asked = Asked(self.headers)
        if not 0 < asked.length <= limits.HEARTBEAT_BODY_BYTES:
            return None
        return Turn(heartbeats, asked, found[1].decode())

    def _told(self, turn: Turn, sender: Sender, outcome: Outcome) -> None:
        try:
            body = turn.heartbeats.told(sender, outcome)
        except Refusal as refusal:
            self._write(turn, problem_of(turn.asked, refusal))
        except Exception:
            log.exception("gateway_failed", **turn.names())
            self._write(turn, problem_of(turn.asked, refusals.internal()))
        else:
            self._write(turn, success(turn.asked, body))

    def _write(self, turn: Turn, answer: Answer) -> None:
        """Answer, and end as uvicorn ends a request."""
        turn.response_complete = True
        if turn.disconnected or self.transport.is_closing():
            return
        status, headers, body = answer
        if not turn.keep_alive:
            headers.append((b"connection", b"close"))
        head = STATUS_LINE[status] + self._default_headers() + _lines(headers)
        self.transport.write(head + b"\r\n" + body)
        if not turn.keep_alive:
            self.transport.close()
        if self.pipeline or self.flow.read_paused or not turn.keep_alive:
            self.on_response_complete()
            return
        self.server_state.total_requests += 1
        self._idle_since = self.loop.time()
        if self._idle_check is None:
            self._check_idle_in(self.timeout_keep_alive)

    def _default_headers(self) -> bytes:
        headers = self.server_state.default_headers
        if self._default[0] is not headers:
            self._default = headers, _lines(headers)
        return self._default[1]

    def _check_idle_in(self, seconds: float) -> None:
        self._idle_check = self.loop.call_later(seconds, self._look_idle)

    def _look_idle(self) -> None:
        """Close a connection on which nothing came for uvicorn's keep-alive time."""
        self._idle_check = None
        if self._idle_since is None:
            return  # A request is under way; its answer begins to count anew.
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._check_idle_in(left)
        else:
            self.timeout_keep_alive_handler()


def _lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])

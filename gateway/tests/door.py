"""Calls a running gateway as an ASGI server would: one by one, many at once, hung up half-way."""

import asyncio
import json
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from gateway.application import Gateway

PATIENCE_S = 20.0
Headers = dict[str, str]


@dataclass
class Answer:
    """What came back; status 0 when nothing did."""

    status: int = 0
    headers: Headers = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Call:
    """One request under way."""

    url: str
    body: bytes = b""
    headers: Headers = field(default_factory=dict)
    method: str = "POST"
    # The body in pieces, as a chunked request brings it.
    pieces: Sequence[bytes] = ()
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    def scope(self) -> dict[str, Any]:
        parts = urlsplit(self.url)
        sent = {"content-type": "application/json"}
        if not self.pieces:
            sent["content-length"] = str(len(self.body))
        sent |= {name.lower(): value for name, value in self.headers.items()}
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": parts.path,
            "raw_path": quote(parts.path).encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8_000),
        }

    async def run(self, application: Any) -> Answer:
        pieces = list(self.pieces or [self.body])
        answer = Answer()

        async def receive() -> dict[str, Any]:
            if pieces:
                piece = pieces.pop(0)
                return {"type": "http.request", "body": piece, "more_body": bool(pieces)}
            await self.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {
                    name.decode(): value.decode() for name, value in message["headers"]
                }
            else:
                answer.body += message.get("body", b"")

        await application(self.scope(), receive, send)
        return answer


async def stand_in_for_django(scope: Any, _receive: Any, send: Any) -> None:
    """Says which path was handed on."""
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


class Door:
    """A running gateway with an event loop of its own."""

    def __init__(self, gateway: Gateway | None = None) -> None:
        self.gateway = gateway or Gateway(stand_in_for_django)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.running = self.run(self.gateway.start())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.begin(work).result(PATIENCE_S)

    def begin(self, work: Coroutine[Any, Any, Any]) -> "Future[Any]":
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def call(self, call: Call) -> Answer:
        answer: Answer = self.run(call.run(self.gateway))
        return answer

    def post(self, url: str, body: Any = None, headers: Headers | None = None) -> Answer:
        """POST a value as JSON, or bytes as they are."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.call(Call(url, raw, headers or {}))

    def together(self, calls: Sequence[Call]) -> list[Answer]:
        """Send all requests before the first is answered."""

        async def all_of_them() -> list[Answer]:
            return list(await asyncio.gather(*(call.run(self.gateway) for call in calls)))

        answers: list[Answer] = self.run(all_of_them())
        return answers

    def hang_up(self, call: Call) -> None:
        self.loop.call_soon_threadsafe(call.gone.set)

    def close(self) -> None:
        self.run(self.gateway.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)
        self.loop.close()

"""Calls the gateway as an ASGI server would, from tests that are not asynchronous."""

import asyncio
import json
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from gateway.application import Gateway

PATIENCE_S = 20.0


@dataclass(frozen=True)
class GatewayAnswer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    def json(self) -> Any:
        return json.loads(self.body)


async def _nobody(_scope: Any, _receive: Any, send: Any) -> None:
    """Stands where Django would; no path of the gateway ends here."""
    await send({"type": "http.response.start", "status": 599, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class GatewayClient:
    """A running gateway with an event loop of its own."""

    def __init__(self) -> None:
        self._gateway = Gateway(_nobody)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._gateway.start())

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def post(self, url: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """POST JSON, or bytes as they are."""
        return self.send("POST", url, body, headers)

    def send(
        self, method: str, url: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> GatewayAnswer:
        """Send JSON, or bytes as they are."""
        raw = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        return self.request(method, url, raw, headers)

    def request(
        self, method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> GatewayAnswer:
        """Send one request."""
        sent = {"content-type": "application/json", "content-length": str(len(body))}
        sent |= {name.lower(): value for name, value in (headers or {}).items()}
        parts = urlsplit(url)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": parts.path,
            "raw_path": quote(parts.path).encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8_000),
        }
        answer: GatewayAnswer = self._run(self._call(scope, body))
        return answer

    async def _call(self, scope: dict[str, Any], body: bytes) -> GatewayAnswer:
        parts = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[dict[str, Any]] = []
        # The first piece of an answer that goes on is enough.
        goes_on = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if parts:
                return parts.pop()
            await goes_on.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)
            if message.get("more_body"):
                goes_on.set()

        await self._gateway(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        content = b"".join(message.get("body", b"") for message in sent[1:])
        return GatewayAnswer(int(sent[0]["status"]), headers, content)

    def close(self) -> None:
        """End the gateway and its loop."""
        self._run(self._gateway.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

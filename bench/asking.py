"""A device's keep-alive connection that costs the machine little: raw requests, parsed answers."""

import asyncio
import json
from typing import Any

from bench.heartbeat.fleet import device_name, token


def claim(number: int, *, wait: int = 0) -> bytes:
    """Return the request that claims one command for a device."""
    return _request(number, "POST", f"commands/claim?wait={wait}&max=1", b"")


def heartbeat(number: int) -> bytes:
    return _request(number, "POST", "heartbeat", b'{"metrics":{"cpu_percent":15.2}}')


def stream(number: int) -> bytes:
    return _request(number, "GET", "stream", b"")


def _request(number: int, method: str, path: str, body: bytes) -> bytes:
    head = (
        f"{method} /api/v1/devices/{device_name(number)}/{path} HTTP/1.1\r\nHost: localhost\r\n"
        f"X-Device-Token: {token(number)}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Line(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._data = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    @classmethod
    async def to(cls, port: int) -> "Line":
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(cls, "127.0.0.1", port)
        return line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found or self._answer is None:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            answer, self._answer = self._answer, None
            self._data = b""
            if not answer.done():
                answer.set_result((int(head[9:12]), body))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("The server hung up."))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Return status and body of the answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    async def claim(self, request: bytes) -> str | None:
        """Return the id of the command that was handed out; raises for a refusal."""
        status, body = await self.ask(request)
        if status != 200:
            raise RuntimeError(f"A claim was answered with {status}: {body[:200]!r}")
        commands = json.loads(body)["commands"]
        return str(commands[0]["id"]) if commands else None

    def close(self) -> None:
        self._transport.close()

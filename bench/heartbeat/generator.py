"""A load generator that costs little: raw keep-alive connections, requests made beforehand.

Run as a program of its own: `python -m bench.heartbeat.generator OPTIONS`. Prints one JSON line.
"""

import argparse
import asyncio
import json
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from bench.heartbeat.fleet import API_KEY, body_of, device_name, token

_SEQUENCE = b"0000000000"
_TS = b"2000-01-01T00:00:00.000000Z"


class Template:
    """A request of one device, cut at the two places that change."""

    __slots__ = ("parts", "sequence")

    def __init__(self, number: int, boot: str, *, api_key: bool) -> None:
        marker = 1_111_111_111
        body = json.dumps(body_of(number, boot, marker, _TS.decode()), separators=(",", ":"))
        # Digits only, never a leading zero: the body's length stays as it is.
        body = body.replace(str(marker + 86_400), str(marker))
        credential = f"X-API-Key: {API_KEY}" if api_key else f"X-Device-Token: {token(number)}"
        head = (
            f"POST /api/v1/devices/{device_name(number)}/heartbeat HTTP/1.1\r\n"
            f"Host: localhost\r\nUser-Agent: fleet-agent/0.1.0\r\nAccept: */*\r\n"
            f"{credential}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        before, after = (head + body).encode().split(_TS)
        middle = after.split(str(marker).encode())
        self.parts = (before, *middle)
        self.sequence = 1_000_000_000

    def next(self, ts: bytes) -> bytes:
        self.sequence += 1
        number = b"%d" % self.sequence
        before, *rest = self.parts
        return before + ts + number.join(rest)


class Client(asyncio.Protocol):
    """One connection: asks, waits for the answer, asks again."""

    __slots__ = (
        "answered",
        "latencies",
        "position",
        "refused",
        "run",
        "sent_at",
        "templates",
        "transport",
    )

    def __init__(self, run: "Run", templates: list[Template]) -> None:
        self.run = run
        self.templates = templates
        self.position = 0
        self.latencies: list[float] = []
        self.answered: list[tuple[int, int]] = []
        self.sent_at = 0.0
        # The answer that is coming in is no success; its head and body may come apart.
        self.refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        template = self.templates[self.position]
        self.sent_at = time.perf_counter()
        self.transport.write(template.next(self.run.ts))  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 200"):
            self.refused = True
        # Every contender answers a JSON object; a head alone ends with an empty line.
        if not data.endswith(b"}"):
            return
        if self.refused:
            self.refused = False
            self.run.errors += 1
        else:
            if self.run.measuring:
                self.latencies.append(time.perf_counter() - self.sent_at)
            if self.run.journal is not None:
                template = self.templates[self.position]
                self.answered.append((id(template), template.sequence))
        if self.run.over:
            self.transport.close()
            return
        self.position = (self.position + 1) % len(self.templates)
        self.ask()

    def connection_lost(self, _error: Exception | None) -> None:
        self.run.closed += 1
        if self.run.closed == self.run.connections:
            self.run.done.set()


class Run:
    """One measurement."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.connections: int = options.connections
        self.options = options
        self.over = self.measuring = False
        self.errors = self.closed = 0
        self.journal: Path | None = options.journal
        self.done = asyncio.Event()
        self.ts = b""

    async def go(self) -> dict[str, float]:
        loop = asyncio.get_running_loop()
        self._tick(loop)
        boot = f"boot-{time.time_ns()}"
        names: dict[int, int] = {}
        clients = []
        for number in range(self.connections):
            own = range(number, self.options.devices, self.connections)
            templates = [Template(device, boot, api_key=self.options.api_key) for device in own]
            names.update(
                {id(template): device for template, device in zip(templates, own, strict=True)}
            )
            _, client = await loop.create_connection(
                lambda templates=templates: Client(self, templates), "127.0.0.1", self.options.port
            )
            clients.append(client)
        await self._sleep(self.options.warm_up)
        self.measuring = True
        started, used = time.perf_counter(), time.process_time()
        await self._sleep(self.options.seconds)
        self.measuring = False
        span, used = time.perf_counter() - started, time.process_time() - used
        self.over = True
        await self._sleep(10)
        if self.journal is not None:
            answered = [
                [names[key], sequence] for client in clients for key, sequence in client.answered
            ]
            self.journal.write_text(json.dumps({"boot": boot, "answered": answered}))
        latencies = sorted(value for client in clients for value in client.latencies)
        return _figures(latencies, span) | {"errors": self.errors, "cpu": used / span}

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or until every connection is gone."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.done.wait(), seconds)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = datetime.now(UTC)
        self.ts = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()
        loop.call_later(0.05, self._tick, loop)


def _figures(latencies: list[float], span: float) -> dict[str, float]:
    if not latencies:
        return {"rate": 0.0, "p50": 0.0, "p99": 0.0}
    return {
        "rate": len(latencies) / span,
        "p50": latencies[len(latencies) // 2] * 1e3,
        "p99": latencies[int(len(latencies) * 0.99)] * 1e3,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=128)
    parser.add_argument("--devices", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--warm-up", type=float, default=1)
    parser.add_argument("--api-key", action="store_true")
    parser.add_argument("--journal", type=Path)
    options = parser.parse_args()

    async def measure() -> dict[str, float]:
        return await Run(options).go()

    sys.stdout.write(json.dumps(uvloop.run(measure())) + "\n")


if __name__ == "__main__":
    main()

"""How long a command takes from being queued to being in the hands of a device that listens."""

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.asking import Line, claim, stream

PATIENCE_S = 10.0


@dataclass
class Measured:
    """Seconds from before the insert until the claim's answer was read, and what never came."""

    latencies: list[float] = field(default_factory=list)
    missing: int = 0


async def measure(
    port: int,
    *,
    devices: int,
    commands: int,
    every_s: float,
    queue: Callable[[int, uuid.UUID], None],
) -> Measured:
    """Queue commands one after another for devices that listen; `queue` inserts and commits one."""
    queued: dict[str, float] = {}
    started: dict[str, float] = {}
    ready = [asyncio.Event() for _ in range(devices)]
    listeners = [
        asyncio.create_task(_listen(port, number, ready[number], started))
        for number in range(devices)
    ]
    await asyncio.gather(*(event.wait() for event in ready))
    for number in range(commands):
        command = uuid.uuid4()
        queued[str(command)] = time.perf_counter()
        await asyncio.to_thread(queue, number % devices, command)
        await asyncio.sleep(max(0.0, queued[str(command)] + every_s - time.perf_counter()))
    deadline = time.perf_counter() + PATIENCE_S
    while len(started) < commands and time.perf_counter() < deadline:
        await asyncio.sleep(0.05)
    for task in listeners:
        task.cancel()
    await asyncio.gather(*listeners, return_exceptions=True)
    latencies = [started[command] - at for command, at in queued.items() if command in started]
    return Measured(latencies, commands - len(latencies))


async def _listen(port: int, number: int, ready: asyncio.Event, started: dict[str, float]) -> None:
    """Be a device: claim all there is whenever the stream says so; open another when it ends."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(stream(number))
        try:
            while data := await reader.readline():
                if data.startswith(b"event: hello"):
                    ready.set()
                elif data.startswith(b"event: command_queued"):
                    await _take(port, number, started)
                elif data.startswith(b"event: bye"):
                    break
        finally:
            writer.close()


async def _take(port: int, number: int, started: dict[str, float]) -> None:
    """Claim until there is nothing, on a connection that was not idle for too long."""
    line = await Line.to(port)
    try:
        while command := await line.claim(claim(number)):
            started[command] = time.perf_counter()
    finally:
        line.close()

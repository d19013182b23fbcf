"""`python -m bench.streams`: many people's event streams at one gateway process.

Events are written at a steady rate; every stream tells each of them. Lateness is from the moment
an event carries to its arrival, on one clock.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable
from datetime import UTC, datetime

import psutil

from bench.portal import Portal, portal, quantile, raise_open_files, say, use_database

DEVICES = 1_000
LATE_S = 2.0
STREAMS_PER_KEY = 5


class Reader:
    """One stream: the lateness of each event it was told."""

    def __init__(self, port: int, key: str) -> None:
        self.port = port
        self.key = key
        self.late: list[float] = []
        self.is_open = asyncio.Event()

    async def run(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"GET /api/v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {self.key}\r\n\r\n"
        writer.write(head.encode())
        name = ""
        try:
            while line := (await reader.readline()).decode():
                if line.startswith("event: "):
                    name = line[7:].strip()
                    if name == "hello":
                        self.is_open.set()
                elif line.startswith("data: ") and name == "device_event":
                    at = datetime.fromisoformat(json.loads(line[6:])["at"])
                    self.late.append((datetime.now(tz=UTC) - at).total_seconds())
        finally:
            writer.close()


def write_events(amount: int, seconds: float) -> None:
    """Add device events one by one, evenly spread."""
    from common import clock
    from devices.models import Device, DeviceEvent

    devices = list(Device.objects.all()[:DEVICES])
    begun = time.monotonic()
    for number in range(amount):
        device = devices[number % len(devices)]
        DeviceEvent.objects.create(
            organization_id=device.organization_id,
            device=device,
            at=clock.now(),
            kind="offline",
            message="It went offline.",
        )
        # The rate is what is asked for.
        time.sleep(max(0.0, begun + (number + 1) * seconds / amount - time.monotonic()))


def keys(amount: int) -> list[str]:
    """Make API keys of the organisation whose devices are there."""
    from accounts.models import ApiKey
    from common.ids import secret_digest, secret_token
    from devices.models import Device

    organization = Device.objects.select_related("organization")[0].organization
    found = []
    for number in range(amount):
        secret = f"fk_{secret_token()}"
        ApiKey.objects.create(
            organization=organization,
            name=f"reader {number}",
            role="viewer",
            prefix=secret[:11],
            sha256=secret_digest(secret),
        )
        found.append(secret)
    return found


async def measure(ours: Portal, options: argparse.Namespace, secrets: list[str]) -> bool:
    """Open the streams, write the events, print what came."""
    assert ours.gateway.process is not None
    process = psutil.Process(ours.gateway.process.pid)
    readers = [
        Reader(ours.port, secrets[number // STREAMS_PER_KEY]) for number in range(options.streams)
    ]
    empty = process.memory_info().rss
    tasks = [asyncio.create_task(reader.run()) for reader in readers]
    await asyncio.gather(*(reader.is_open.wait() for reader in readers))
    idle = await _share(process, asyncio.sleep(5.0))
    amount = int(options.rate * options.seconds)
    writing = asyncio.to_thread(write_events, amount, options.seconds)
    busy = await _share(process, writing)
    await asyncio.sleep(3.0)
    for task in tasks:
        task.cancel()
    late = [one for reader in readers for one in reader.late]
    told = len(late) / options.streams
    say(f"\n{options.streams} streams at one gateway process, {amount} events")
    say(f"  told to each: {told:.1f} of {amount}")
    p50, p99 = quantile(late, 0.5), quantile(late, 0.99)
    say(f"  late: p50 {p50:.2f} s, p99 {p99:.2f} s (wanted: p99 below {LATE_S} s)")
    say(f"  processor time: {100 * idle:.1f} % of one core idle, {100 * busy:.1f} % with events")
    grown = (process.memory_info().rss - empty) / options.streams / 1e3
    say(f"  memory per stream: {grown:.0f} KB")
    return told == amount and p99 < LATE_S


async def _share(process: psutil.Process, work: Awaitable[None]) -> float:
    """Return the processor time of the process while the work went on, in cores."""
    begun, used = time.monotonic(), sum(process.cpu_times()[:2])
    await work
    return float((sum(process.cpu_times()[:2]) - used) / (time.monotonic() - begun))


def main() -> int:
    """Measure; exit status 1 when an event was lost or told too late."""
    parser = argparse.ArgumentParser(prog="python -m bench.streams", description=__doc__)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--rate", type=float, default=20.0, help="events a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    raise_open_files()
    with portal(DEVICES) as ours:
        use_database(ours.environ)
        secrets = keys(-(-options.streams // STREAMS_PER_KEY))
        kept = asyncio.run(measure(ours, options, secrets))
    say(f"\ntold in time: {'kept' if kept else 'NOT kept'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

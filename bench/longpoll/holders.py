"""Devices that wait in long-polls, and some that send heartbeats meanwhile.

Run as a program of its own: `python -m bench.longpoll.holders OPTIONS`. Prints a line when all
wait, and one JSON line at the end.
"""

import argparse
import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass, field

import uvloop

from bench.asking import Line, claim, heartbeat

# New long-polls per second while they come in.
RAMP = 500
BEAT_EVERY_S = 0.5


@dataclass
class Found:
    """What became of the long-polls, and how long heartbeats took, in seconds."""

    held: int = 0
    answered: int = 0
    errors: int = 0
    beats: list[float] = field(default_factory=list)


async def hold(port: int, number: int, found: Found) -> None:
    """Wait, and wait again."""
    line = await Line.to(port)
    request = claim(number, wait=60)
    asked = asyncio.ensure_future(line.claim(request))
    found.held += 1
    try:
        while True:
            await asked
            found.answered += 1
            asked = asyncio.ensure_future(line.claim(request))
    except (OSError, RuntimeError):
        found.held -= 1
        found.errors += 1
    finally:
        asked.cancel()
        line.close()


async def beat(port: int, number: int, found: Found) -> None:
    line = await Line.to(port)
    while True:
        began = time.perf_counter()
        status, _ = await line.ask(heartbeat(number))
        found.beats.append(time.perf_counter() - began)
        found.errors += status != 200
        await asyncio.sleep(BEAT_EVERY_S)


async def measure(options: argparse.Namespace) -> Found:
    found = Found()
    tasks = []
    for number in range(options.polls):
        tasks.append(asyncio.create_task(hold(options.port, number, found)))
        await asyncio.sleep(1 / RAMP)
    while found.held + found.errors < options.polls:
        await asyncio.sleep(0.1)
    sys.stdout.write("all wait\n")
    sys.stdout.flush()
    found.answered = 0
    for number in range(options.polls, options.polls + options.beating):
        tasks.append(asyncio.create_task(beat(options.port, number, found)))
        await asyncio.sleep(BEAT_EVERY_S / options.beating)
    await asyncio.sleep(options.seconds)
    result = Found(found.held, found.answered, found.errors, list(found.beats))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--polls", type=int, default=10_000)
    parser.add_argument("--beating", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    found = uvloop.run(measure(options))
    sys.stdout.write(json.dumps(asdict(found)) + "\n")


if __name__ == "__main__":
    main()

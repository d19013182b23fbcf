"""Claimers that take everything, as fast as they are answered. Prints one JSON line.

Run as a program of its own: `python -m bench.claims.claimers OPTIONS`.
"""

import argparse
import asyncio
import json
import sys
import time

import uvloop

from bench.asking import Line, claim


async def take(line: Line, own: list[bytes], taken: list[tuple[float, str]]) -> None:
    """Go round the devices until each of them has nothing left."""
    empty = position = 0
    while empty < len(own):
        command = await line.claim(own[position])
        if command is None:
            empty += 1
            position = (position + 1) % len(own)
        else:
            empty = 0
            taken.append((time.perf_counter(), command))


async def measure(options: argparse.Namespace) -> dict[str, object]:
    lines = [await Line.to(options.port) for _ in range(options.claimers)]
    requests = [claim(number) for number in range(options.devices)]
    taken: list[tuple[float, str]] = []
    started = time.perf_counter()
    # Everybody begins at another device; all of them get to all.
    await asyncio.gather(
        *(
            take(line, requests[at:] + requests[:at], taken)
            for at, line in ((n % options.devices, line) for n, line in enumerate(lines))
        )
    )
    for line in lines:
        line.close()
    seconds = max(at for at, _ in taken) - started if taken else 0.0
    return {"seconds": seconds, "ids": [command for _, command in taken]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--claimers", type=int, default=50)
    parser.add_argument("--devices", type=int, default=20)
    options = parser.parse_args()
    sys.stdout.write(json.dumps(uvloop.run(measure(options))) + "\n")


if __name__ == "__main__":
    main()

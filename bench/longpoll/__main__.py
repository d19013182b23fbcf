"""`python -m bench.longpoll`: many empty long-polls held by one gateway process.

Every device waits in a claim of 60 s and asks again; a few others send heartbeats meanwhile.
"""

import argparse
import json
import subprocess
import sys
import time

import psutil

from bench.heartbeat.contenders import PROJECT
from bench.portal import Portal, portal, quantile, raise_open_files, say

MOST_BYTES = 1_000_000_000
# The process's own, PostgreSQL's, and room for the heartbeats.
SPARE_FILES = 200
BEATING = 10


def measure(ours: Portal, options: argparse.Namespace) -> bool:
    """Hold the long-polls, print what that costs; return whether all of them were held."""
    assert ours.gateway.process is not None
    process = psutil.Process(ours.gateway.process.pid)
    empty = process.memory_info().rss
    load = subprocess.Popen(
        [
            *[sys.executable, "-m", "bench.longpoll.holders", "--port", str(ours.port)],
            *["--polls", str(options.polls), "--beating", str(BEATING)],
            *["--seconds", str(options.seconds)],
        ],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert load.stdout is not None
    load.stdout.readline()  # All of them are held from here on.
    begun, used = time.monotonic(), sum(process.cpu_times()[:2])
    most = 0
    while load.poll() is None:
        most = max(most, process.memory_info().rss)
        if time.monotonic() - begun < options.seconds:
            span, now_used = time.monotonic() - begun, sum(process.cpu_times()[:2])
        time.sleep(0.5)
    found = json.loads(load.stdout.read())
    report(options.polls, found, empty=empty, most=most, share=(now_used - used) / span)
    return bool(found["held"] == options.polls and not found["errors"])


def report(
    polls: int, found: dict[str, list[float]], *, empty: int, most: int, share: float
) -> None:
    p50, p99 = (1e3 * quantile(found["beats"], part) for part in (0.5, 0.99))
    say(f"\n{polls} empty long-polls of 60 s at one gateway process")
    say(f"  held: {found['held']}, refused or broken: {found['errors']} (wanted: 0)")
    say(f"  answered and asked again meanwhile: {found['answered']}")
    say(f"  memory: {most / 1e6:.0f} MB, {empty / 1e6:.0f} MB of them before the first")
    say(f"  per long-poll: {(most - empty) / polls / 1e3:.1f} KB")
    say(f"  processor time: {100 * share:.1f} % of one core")
    say(f"  heartbeats meanwhile: p50 {p50:.1f} ms, p99 {p99:.1f} ms of {len(found['beats'])}")
    say(f"  1 GB against the memory: {MOST_BYTES / most:.2f}x")


def main() -> int:
    """Measure; exit status 1 when a long-poll was not held. Memory only informs."""
    parser = argparse.ArgumentParser(prog="python -m bench.longpoll", description=__doc__)
    parser.add_argument("--polls", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    files = raise_open_files()
    if files < options.polls + SPARE_FILES:
        say(
            f"This system allows {files} open files, {options.polls} long-polls need"
            f" {options.polls + SPARE_FILES}. Raise `ulimit -Hn`, or pass a smaller --polls."
        )
        return 1
    with portal(options.polls + BEATING) as ours:
        kept = measure(ours, options)
    say(f"\nheld: {'kept' if kept else 'NOT kept'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

"""`python -m bench.agent_crash`: prints what an agent does that dies at every system call.

Exit status 0 when nothing was done twice, left open or lost; 1 otherwise; 2 without strace.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from bench.agent_crash.device import PAYLOADS
from bench.agent_crash.disk import CODES, run_without_disk
from bench.agent_crash.points import STRACE, Point, Verdict, enumerate_points, run_point

LEAST_POINTS = 100
PHASES = ("run", "restart")


def main() -> int:
    options = _options()
    if shutil.which(STRACE) is None:
        sys.stderr.write("strace is not installed. On Debian: apt-get install strace\n")
        return 2
    started = time.monotonic()
    points = _enumerated(options.kinds)[:: options.every]
    print(f"{len(points)} points, {options.jobs} at a time", flush=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = [_told(verdict) for verdict in pool.map(run_point, points)]
    is_well = _summary(verdicts, is_whole=options.every == 1)
    is_well = _disks() and is_well
    print(f"seconds:                                 {time.monotonic() - started:.0f}")
    return 0 if is_well else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.agent_crash", description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=list(PAYLOADS), default=list(PAYLOADS))
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each n-th point")
    parser.add_argument("--jobs", type=int, default=2, help="agents at a time (default 2)")
    return parser.parse_args()


def _enumerated(kinds: list[str]) -> list[Point]:
    points: list[Point] = []
    for kind in kinds:
        for phase in PHASES:
            found = enumerate_points(kind, phase)
            calls = Counter(point.call for point in found)
            told = ", ".join(f"{call} {number}" for call, number in calls.items())
            print(f"{kind}, {phase}: {len(found)} points ({told})", flush=True)
            points += found
    return points


def _told(verdict: Verdict) -> Verdict:
    if verdict.is_double or verdict.is_open or verdict.is_lost:
        print(f"BAD {verdict}", flush=True)
    return verdict


def _disks() -> bool:
    verdicts = [run_without_disk(code) for code in CODES]
    for verdict in verdicts:
        begun = verdict.effects_without_disk
        print(
            f"disk says {verdict.code + ':':<30} {begun} begun, told: {verdict.is_told},"
            f" done afterwards: {verdict.is_done_afterwards} ({verdict.effects_afterwards} times)"
        )
    return all(verdict.is_good for verdict in verdicts)


def _summary(verdicts: list[Verdict], *, is_whole: bool) -> bool:
    double = sum(verdict.is_double for verdict in verdicts)
    left_open = sum(verdict.is_open for verdict in verdicts)
    lost = sum(verdict.is_lost for verdict in verdicts)
    ends = Counter(f"{verdict.status} {verdict.error_code}".strip() for verdict in verdicts)
    killed = sum(verdict.was_killed for verdict in verdicts)
    most = max((verdict.restarts for verdict in verdicts), default=0)
    # Some calls of the observed run came after the command's end.
    print(f"points enumerated:                       {len(verdicts)} (died at {killed})")
    print(f"double effects:                          {double}")
    print(f"commands not ended within 3 restarts:    {left_open}")
    print(f"lost results:                            {lost}")
    print(f"most restarts needed:                    {most}")
    print(f"ends:                                    {dict(ends)}")
    is_enough = not is_whole or len(verdicts) >= LEAST_POINTS
    return is_enough and not double + left_open + lost


if __name__ == "__main__":
    sys.exit(main())

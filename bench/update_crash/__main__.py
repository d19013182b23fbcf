"""`python -m bench.update_crash`: prints which release runs on a device whose agent dies, or whose
disk refuses, at every system call of an update.

Exit status 0 when exactly one release runs at every point and the portal was told the truth; 1
otherwise; 2 without strace.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from bench.update_crash.device import KINDS
from bench.update_crash.points import STRACE, Point, Verdict, enumerate_points, run_point

LEAST_POINTS = 200


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
    print(f"seconds:                                 {time.monotonic() - started:.0f}")
    return 0 if is_well else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.update_crash", description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each n-th point")
    parser.add_argument("--jobs", type=int, default=2, help="agents at a time (default 2)")
    return parser.parse_args()


def _enumerated(kinds: list[str]) -> list[Point]:
    points: list[Point] = []
    for kind in kinds:
        found = enumerate_points(kind)
        calls = Counter(point.call for point in found if not point.error)
        told = ", ".join(f"{call} {number}" for call, number in calls.items())
        print(f"{kind}: {len(found)} points ({told})", flush=True)
        points += found
    return points


def _told(verdict: Verdict) -> Verdict:
    if not (verdict.is_one_release and verdict.is_true):
        print(f"BAD {verdict}", flush=True)
    return verdict


def _summary(verdicts: list[Verdict], *, is_whole: bool) -> bool:
    total = len(verdicts)
    one = sum(verdict.is_one_release for verdict in verdicts)
    true = sum(verdict.is_true for verdict in verdicts)
    ends = Counter(f"{verdict.point.kind}: {verdict.status}" for verdict in verdicts)
    refused = sum(bool(verdict.point.error) for verdict in verdicts)
    killed = sum(verdict.was_killed for verdict in verdicts)
    print(f"points:                                  {total}")
    print(f"of them died at, disk refused at:        {killed}, {refused}")
    print(f"exactly one release runs:                {one} of {total}")
    print(f"the portal was told the truth:           {true} of {total}")
    print(f"most restarts needed:                    {max(v.restarts for v in verdicts)}")
    print(f"ends:                                    {dict(sorted(ends.items()))}")
    is_enough = not is_whole or total >= LEAST_POINTS
    return is_enough and one == true == total


if __name__ == "__main__":
    sys.exit(main())

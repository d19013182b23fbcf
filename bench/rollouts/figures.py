"""A figure beside what is asked for."""

import time
from collections.abc import Callable
from typing import Any

from bench.portal import quantile, say

MOST_PLAN_S = 5.0
MOST_SWEEP_S = 2.0
MOST_ELIGIBILITY_S = 0.020
MOST_PAGE_S = 1.0
MOST_HALT_S = 2.0


def timed(act: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    found = act()
    return time.perf_counter() - begun, found


def told(what: str, seconds: float, most: float) -> bool:
    """Print a figure and its limit; say whether it is kept."""
    say(f"  {what}: {1e3 * seconds:.1f} ms, {most / seconds:.1f}x of {1e3 * most:.0f} ms")
    return seconds <= most


def told_p99(what: str, took: list[float], most: float) -> bool:
    say(f"  {what}, of {len(took)}: p50 {1e3 * quantile(took, 0.5):.1f} ms")
    return told("  p99", quantile(took, 0.99), most)

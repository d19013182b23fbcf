"""When to try again: full jitter, Retry-After, and slow retries where haste is useless."""

from __future__ import annotations

import math
import random
import time
from email.utils import parsedate_to_datetime
from typing import Optional

from fleet_agent.errors import PortalError

BASE_S = 2.0
CAP_S = 120.0
# Below this a retry would only add load; above it a fleet would come back too late.
MIN_S = 0.1
MAX_RETRY_AFTER_S = 3600.0
# Nothing but a person can cure these, so asking often helps nobody.
SLOW_STATUSES = (400, 401, 403, 404, 405, 422, 501)
SLOW_RANGE_S = (60.0, CAP_S)
_RANDOM = random.SystemRandom()


class Backoff:
    """Counts failures in a row and says how many seconds to wait after each."""

    def __init__(self, *, base_s: float = BASE_S, cap_s: float = CAP_S) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self.failures = 0

    def reset(self) -> None:
        self.failures = 0

    def delay_s(self, error: Optional[Exception] = None) -> float:
        """Return the seconds to wait after one more failure.

        A Retry-After is kept and stretched by up to a tenth, so that a fleet does not return
        in one instant; every other wait is drawn evenly from nothing to the doubling bound.
        """
        self.failures += 1
        if isinstance(error, PortalError):
            if error.retry_after_s is not None:
                wait = min(error.retry_after_s, MAX_RETRY_AFTER_S)
                return max(MIN_S, wait * _RANDOM.uniform(1.0, 1.1))
            if error.status in SLOW_STATUSES:
                return _RANDOM.uniform(*SLOW_RANGE_S)
        bound = min(self._cap_s, self._base_s * 2 ** min(self.failures - 1, 16))
        return max(MIN_S, _RANDOM.uniform(0, bound))


def jittered(seconds: float) -> float:
    """Return the interval stretched or shortened by up to a tenth."""
    return seconds * _RANDOM.uniform(0.9, 1.1)


def between(low_s: float, high_s: float) -> float:
    return _RANDOM.uniform(low_s, high_s)


def retry_after_s(header: Optional[str]) -> Optional[float]:
    """Return the seconds a Retry-After header asks for: a number or an HTTP date; else None."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except (TypeError, ValueError, IndexError, OverflowError):
            return None
    if not math.isfinite(seconds):
        return None
    return max(0.0, min(seconds, MAX_RETRY_AFTER_S))

"""When a request is sent again, and how long to wait before that."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from fleet_client.errors import Unreachable, retry_after_s

AGAIN = frozenset({429, 502, 503, 504})
# The portal says these before it does any work.
NOT_BEGUN = frozenset({429, 503})


@dataclass(frozen=True)
class Retries:
    """How patient the client is. Times are seconds.

    A request is sent at most `attempts` times. Between two of them lies a random time of up to
    `base_s`, doubled each time, never over `cap_s`; what the portal asks for in Retry-After is
    waited in full. When a pause would bring all pauses over `patience_s`, the error is raised.
    """

    attempts: int = 5
    base_s: float = 0.5
    cap_s: float = 15.0
    patience_s: float = 60.0

    def pause_s(
        self, *, attempt: int, waited_s: float, asked_s: Optional[float]
    ) -> Optional[float]:
        """Return how long to wait after the attempt of that number (from 1); None: give up."""
        if attempt >= self.attempts:
            return None
        window = min(self.cap_s, self.base_s * 2.0 ** (attempt - 1))
        # Spread over the window, so that clients cut off together do not come back together.
        pause = (asked_s or 0.0) + random.uniform(0, window)  # noqa: S311 - no secret
        return pause if waited_s + pause <= self.patience_s else None


NO_RETRIES = Retries(attempts=1)


def is_worth_again(status: int, headers: Mapping[str, str], *, is_repeatable: bool) -> bool:
    """Say whether the same request may succeed later.

    A 409 counts only with Retry-After: the first request with this idempotency key still runs.
    `is_repeatable` is false for what has no key and must not be done twice.
    """
    if not is_repeatable:
        return status in NOT_BEGUN
    return status in AGAIN or (status == 409 and retry_after_s(headers) is not None)


def is_worth_reconnecting(error: Unreachable, *, is_repeatable: bool) -> bool:
    """Say whether a request without an answer may be sent again as it is."""
    return error.is_passing and not error.is_cut and (is_repeatable or not error.was_sent)

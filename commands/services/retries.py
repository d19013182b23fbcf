"""Whether an attempt that failed is followed by another one, and when."""

import random
from datetime import datetime, timedelta

from commands.models import Command
from common import limits


def pause_s(*, backoff_s: int, used: int) -> float:
    """Return how many seconds to wait after `used` further attempts: doubling, capped, jittered."""
    # Beyond the cap the exponent is of no interest, and a power of it would be a huge number.
    whole: int = min(backoff_s << min(used, 16), limits.COMMAND_BACKOFF_MAX_S)
    return whole * random.uniform(0.5, 1)  # noqa: S311 - spreads load, guards nothing


def next_attempt_at(
    row: Command, *, failure_class: str, now: datetime, used: int | None = None
) -> datetime | None:
    """Return when the command is tried again after an attempt failed now, or None for never.

    `used` is how many attempts failed like this before; unless given, it is counted. There is no
    further attempt after a refusal, once somebody wants to stop it, or past its expiry.
    """
    allowed = row.retries.get(failure_class, 0)
    if not allowed or row.cancel_requested_at is not None:
        return None
    if used is None:
        used = row.attempts.filter(failure_class=failure_class).count()
    if used >= allowed:
        return None
    again = now + timedelta(seconds=pause_s(backoff_s=row.retry_backoff_s, used=used))
    return again if again < row.expires_at else None

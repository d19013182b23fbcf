"""An exact rate limiter (GCRA) in PostgreSQL: one atomic statement, the same for every process."""

from datetime import timedelta

from common.db import fetch_all
from common.errors import DomainError


class TooManyAttempts(DomainError):
    """Too many tries within the hour; `Retry-After` says when to come back."""

    code = "too_many_attempts"
    http_status = 429


def pass_or_refuse(*, key: str, limit: int, per: timedelta, message: str) -> None:
    """Count one act under `key`; refuse with TooManyAttempts beyond `limit` per `per`.

    The refusal carries `retry_after_s`. A refused act is not counted.
    """
    wait = seconds_to_wait(key=key, limit=limit, per=per, count=True)
    if wait:
        raise TooManyAttempts(f"{message} Try again in {wait} s.", retry_after_s=wait)


def seconds_to_wait(*, key: str, limit: int, per: timedelta, count: bool) -> int:
    """Return 0 when one more act fits under `key`, else whole seconds to wait.

    With `count` the act is counted if it fits.
    """
    step = per / limit
    if not count:
        rows = fetch_all(
            "SELECT ceil(extract(epoch FROM full_until + %s - clock_timestamp() - %s))"
            "  FROM accounts_ratebucket WHERE key = %s",
            [step, per, key],
        )
        return max(0, int(rows[0][0])) if rows else 0
    rows = fetch_all(
        """
        INSERT INTO accounts_ratebucket AS bucket (key, full_until)
             VALUES (%(key)s, clock_timestamp() + %(step)s)
        ON CONFLICT (key) DO UPDATE
                SET full_until = greatest(bucket.full_until, clock_timestamp()) + %(step)s
              WHERE greatest(bucket.full_until, clock_timestamp()) + %(step)s
                    <= clock_timestamp() + %(per)s
          RETURNING 1
        """,
        {"key": key, "step": step, "per": per},
    )
    if rows:
        return 0
    return max(1, seconds_to_wait(key=key, limit=limit, per=per, count=False))


def forget(*, key: str) -> None:
    """Empty the bucket: the act turned out to be a good one."""
    fetch_all("DELETE FROM accounts_ratebucket WHERE key = %s RETURNING 1", [key])

"""The pulse of a rollout: what ended well and badly, step by step."""

from datetime import datetime, timedelta
from typing import Any

from common.db import fetch_all
from releases.models import Rollout

# The least step; a chart has at most this many of them.
_STEPS_S = [60, 300, 900, 3_600, 6 * 3_600, 86_400]
_POINTS = 96


def rollout_pulse(*, rollout: Rollout, now: datetime) -> dict[str, Any]:
    """Return counts per step as columns: seconds since the epoch, verified, failed, claimed.

    The step grows with the age of the rollout, so that there are at most 96 of them.
    """
    start = rollout.started_at or rollout.created_at
    end = rollout.finished_at or now
    span = max((end - start).total_seconds(), 0.0)
    step = next((one for one in _STEPS_S if span <= one * _POINTS), _STEPS_S[-1])
    rows = fetch_all(
        """
        SELECT extract(epoch FROM date_bin(%(step)s, at, 'epoch'))::bigint,
               count(*) FILTER (WHERE what = 'verified'),
               count(*) FILTER (WHERE what IN ('failed', 'rolled_back')),
               count(*) FILTER (WHERE what = 'claimed')
          FROM (SELECT finished_at AS at, status AS what FROM releases_deviceupdate
                 WHERE rollout_id = %(rollout)s AND finished_at >= %(from)s
                UNION ALL
                SELECT claimed_at, 'claimed' FROM releases_deviceupdate
                 WHERE rollout_id = %(rollout)s AND claimed_at >= %(from)s) u
         GROUP BY 1 ORDER BY 1
        """,
        {
            "step": timedelta(seconds=step),
            "rollout": rollout.pk,
            "from": max(start, end - timedelta(seconds=step * _POINTS)),
        },
    )
    found = {row[0]: row[1:] for row in rows}
    last = int(end.timestamp()) // step * step
    first = max(int(start.timestamp()) // step * step, last - step * (_POINTS - 1))
    moments = list(range(first, last + 1, step))
    names = ("verified", "failed", "claimed")
    series = {
        name: [found.get(moment, (0, 0, 0))[place] for moment in moments]
        for place, name in enumerate(names)
    }
    return {"at": moments, "step": step, "series": series}

"""How many a rollout updates at once, and how fast: its places, and what began lately.

A place is held by what is in flight, and kept for what was scheduled a short while ago to a device
that is there. The sweep gives no more places than there are. What is in flight is bounded where it
begins, at the offer: those who ask there go one by one, so it never exceeds the plan.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from common.db import execute, fetch_one, transaction_lock
from releases.models import Rollout

MINUTE = timedelta(minutes=1)
# How long a device that was given its update may take to come for it before its place is free.
PLACE_KEPT = timedelta(minutes=15)

_OF_ROLLOUT = "rollout_id = %(rollout)s AND kind = 'rollout'"
_IN_FLIGHT = "status IN ('offered', 'downloading', 'installing', 'awaiting_confirmation')"
# As the index device_update_places has it.
_HOLDS = f"({_IN_FLIGHT} OR status = 'scheduled' AND keeps_place)"

CROWD_SQL = f"""
SELECT lately.count, lately.first,
       (SELECT count(*) FROM releases_deviceupdate
         WHERE %(is_bounded)s AND {_OF_ROLLOUT} AND {_HOLDS}),
       (SELECT count(*) FROM releases_deviceupdate
         WHERE %(is_bounded)s AND {_OF_ROLLOUT} AND status = 'scheduled' AND NOT keeps_place)
  FROM (SELECT count(*) AS count, min(scheduled_at) AS first FROM releases_deviceupdate
         WHERE {_OF_ROLLOUT} AND scheduled_at > %(since)s) lately
"""  # noqa: S608 - only constants of this module are put in

_FREE = """
UPDATE releases_deviceupdate u SET keeps_place = false
  FROM devices_devicestate s
 WHERE u.rollout_id = %(rollout)s AND u.kind = 'rollout'
   AND u.status = 'scheduled' AND u.keeps_place
   AND s.device_id = u.device_id
   AND (u.scheduled_at <= %(lapsed)s OR s.health = 'offline')
"""

_OTHERS = f"""
SELECT count(*) FROM releases_deviceupdate
 WHERE {_OF_ROLLOUT} AND {_IN_FLIGHT}
"""  # noqa: S608 - of constants


@dataclass(frozen=True)
class Crowd:
    """What a rollout has under way; counts only of what its plan bounds."""

    # Begun in the last minute, and when the first of them was.
    begun: int = 0
    begun_first: datetime | None = None
    # Places that are held, and updates that wait without one for a device that is away.
    held: int = 0
    waiting: int = 0


def crowd_of(rollout: Rollout, now: datetime) -> Crowd:
    """Count what a rollout has under way; what its plan does not bound is not counted."""
    if rollout.rate_per_minute is None and rollout.concurrency is None:
        return Crowd()
    return Crowd(*fetch_one(CROWD_SQL, {"rollout": rollout.pk, **bounds_of(rollout, now)}))


def bounds_of(rollout: Rollout, now: datetime) -> dict[str, Any]:
    """Return the other values CROWD_SQL names."""
    return {
        "is_bounded": rollout.concurrency is not None,
        "since": now - MINUTE if rollout.rate_per_minute is not None else None,
    }


def places_free(*, rollout: Rollout, now: datetime) -> int:
    """Free the places of devices that have gone, or have not come in time; return how many.

    Their update stays theirs: it is offered when they come and there is a place.
    """
    if rollout.concurrency is None:
        return 0
    return execute(_FREE, {"rollout": rollout.pk, "lapsed": now - PLACE_KEPT})


def in_flight_with_lock(rollout: Rollout) -> int:
    """Count what is in flight; until the transaction ends nobody else who asks here gets on.

    Whoever puts an update in flight asks here first, so that what was counted stays the most.
    """
    transaction_lock(f"releases.places {rollout.pk}")
    return int(fetch_one(_OTHERS, {"rollout": rollout.pk})[0])

"""Claimed is the device's word. What its later heartbeats show decides: set-based sweeps.

Proof is: heartbeats received after the claim show the version, and good health without a gap for
`verify_minutes`. A heartbeat that shows another version, once one interval has passed since the
claim, is a false success.
"""

from datetime import datetime
from typing import Any

from django.db import transaction

from common import limits
from common.db import execute, fetch_all, only_one_runs
from releases.services.swept import Ended, updates_ended

# `u` the update, `s` the state of its device, `d` the device, `o` its organisation. Versions are
# compared; of a device that names none, or an update that knows none, the commits are.
_SHOWS = """
    (u.to_version <> '' AND s.version = u.to_version
     OR (u.to_version = '' OR s.version = '') AND s.commit <> '' AND u.to_commit <> ''
        AND (starts_with(u.to_commit, s.commit) OR starts_with(s.commit, u.to_commit)))"""
# In safe mode the application of no release runs, but that of a redeploy, which ends the mode.
_PROOF = f"""(s.last_seen > u.claimed_at AND s.health = 'healthy' AND {_SHOWS}
              AND (u.kind = 'redeploy' OR NOT d.safe_mode))"""
_GRACE = """coalesce(d.heartbeat_interval_s, o.heartbeat_interval_s) * interval '1 second'"""

# Since when it is well: the heartbeat that first showed it, or the last time it became healthy.
# Those that are not well any more go first: they must not be taken for proved.
_HEALTHY_SINCE = f"""
UPDATE releases_deviceupdate u
   SET healthy_since = p.since
  FROM (SELECT u.id, p.since
          FROM releases_deviceupdate u
          JOIN devices_devicestate s ON s.device_id = u.device_id
          JOIN devices_device d ON d.id = u.device_id
         CROSS JOIN LATERAL (
               SELECT CASE WHEN {_PROOF} THEN
                           CASE WHEN u.healthy_since IS NULL THEN s.last_seen
                                ELSE greatest(u.healthy_since, s.health_since) END
                      END AS since) p
         WHERE u.status = 'claimed' AND u.healthy_since IS DISTINCT FROM p.since
         ORDER BY p.since IS NOT NULL LIMIT %(rows)s) p
 WHERE u.id = p.id AND u.status = 'claimed'
"""  # noqa: S608 - only constants of this module are put in

_JOINED = """
          FROM releases_deviceupdate u
          JOIN devices_devicestate s ON s.device_id = u.device_id
          JOIN devices_device d ON d.id = u.device_id
          JOIN accounts_organization o ON o.id = u.organization_id"""

_VERIFY = f"""
WITH proved AS (
    SELECT u.id {_JOINED}
     WHERE u.status = 'claimed' AND {_PROOF}
       AND s.last_seen >= greatest(u.healthy_since, s.health_since)
                          + u.verify_minutes * interval '1 minute'
     ORDER BY u.id LIMIT %(rows)s FOR UPDATE OF u SKIP LOCKED
)
UPDATE releases_deviceupdate u
   SET status = 'verified', finished_at = %(now)s, deadline_at = NULL, step = ''
  FROM proved p WHERE u.id = p.id
RETURNING u.id, u.organization_id, u.device_id, u.rollout_id, u.to_version, u.status,
          u.failure_class, u.error, false
"""  # noqa: S608 - of constants

# The heartbeat itself is looked up: the state keeps a version that later ones do not name.
_OTHER_VERSION = f"""
    (SELECT h.version FROM devices_heartbeat h
      WHERE h.device_id = u.device_id AND h.at > u.claimed_at + {_GRACE}
        AND h.received_at > u.claimed_at + {_GRACE}
        AND h.version NOT IN ('', u.to_version)
      ORDER BY h.at DESC LIMIT 1)"""  # noqa: S608 - of constants

_LIES = f"""
WITH late AS (
    SELECT u.id, {_OTHER_VERSION} AS shown {_JOINED}
     WHERE u.status = 'claimed' AND u.to_version <> '' AND s.version NOT IN ('', u.to_version)
       AND s.last_seen > u.claimed_at + {_GRACE}
     ORDER BY u.id LIMIT %(rows)s FOR UPDATE OF u SKIP LOCKED
)
UPDATE releases_deviceupdate u
   SET status = 'failed', failure_class = 'false_success', finished_at = %(now)s,
       deadline_at = NULL,
       error = format('It claimed %%s, and its heartbeats show %%s.', u.to_version, l.shown)
  FROM late l WHERE u.id = l.id AND l.shown IS NOT NULL
RETURNING u.id, u.organization_id, u.device_id, u.rollout_id, u.to_version, u.status,
          u.failure_class, u.error, true
"""  # noqa: S608 - of constants

_WHEN = "coalesce(to_char(s.last_seen AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC', 'never')"
# Nothing came in time. Which end that is, and in which words.
_DUE = f"""
WITH due AS (
    SELECT u.id, s.health = 'offline' AS away,
           u.claimed_at IS NOT NULL AND {_SHOWS} AND s.last_seen > u.claimed_at AS shows,
           CASE WHEN s.health = 'offline' THEN
                     format('Offline: last heard of %%s, nothing came in time.', {_WHEN})
                WHEN u.claimed_at IS NULL THEN
                     format('It was %%s and did not end in time.', replace(u.status, '_', ' '))
                WHEN NOT {_SHOWS} AND s.version IN ('', u.to_version) THEN
                     'No heartbeat said which version runs.'
                WHEN NOT {_SHOWS} THEN
                     format('It claimed %%s, and its state shows %%s.', u.to_version, s.version)
                WHEN d.safe_mode AND u.kind <> 'redeploy' THEN
                     'The device is in safe mode, where the application does not run.'
                ELSE format('It runs %%s and was %%s, not healthy for %%s min without a gap.',
                            u.to_version, s.health, u.verify_minutes) END AS words {_JOINED}
     WHERE u.status = ANY (%(open)s) AND u.deadline_at <= %(now)s
     ORDER BY u.deadline_at LIMIT %(rows)s FOR UPDATE OF u SKIP LOCKED
)
UPDATE releases_deviceupdate u
   SET status = 'failed', finished_at = %(now)s, deadline_at = NULL, error = due.words,
       failure_class = CASE WHEN due.shows AND NOT due.away THEN 'health' ELSE 'timeout' END
  FROM due WHERE u.id = due.id
RETURNING u.id, u.organization_id, u.device_id, u.rollout_id, u.to_version, u.status,
          u.failure_class, u.error, NOT due.away
"""  # noqa: S608 - of constants

# For a device that waits because its rollout is paused the time stands still: before it fetches
# the bundle, and before it stops what runs (`holding` is the agent's word for that).
_STAND_STILL = """
UPDATE releases_deviceupdate SET deadline_at = %(now)s + interval '15 minutes'
 WHERE (status IN ('offered', 'downloading') OR status = 'installing' AND step = 'holding')
   AND is_paused
   AND deadline_at < %(now)s + interval '5 minutes'
"""


@transaction.atomic
def updates_verify(*, now: datetime) -> dict[str, int]:
    """End claimed updates that are proved, and those that were false; return how many of each."""
    if not only_one_runs("releases.updates_verify"):
        return {}
    execute(_HEALTHY_SINCE, {"rows": limits.UPDATE_SWEEP_ROWS})
    verified = _run(_VERIFY, now=now)
    false = _run(_LIES, now=now)
    updates_ended([*verified, *false], now=now)
    return {"verified": len(verified), "false_success": len(false)}


@transaction.atomic
def updates_time_out(*, now: datetime) -> dict[str, int]:
    """End updates whose time is over, from the offer on; return how many."""
    if not only_one_runs("releases.updates_time_out"):
        return {}
    execute(_STAND_STILL, {"now": now})
    late = _run(_DUE, now=now)
    updates_ended(late, now=now)
    return {"timed_out": len(late)}


def _run(statement: str, *, now: datetime) -> list[Ended]:
    given: dict[str, Any] = {
        "now": now,
        "rows": limits.UPDATE_SWEEP_ROWS,
        "open": ["offered", "downloading", "installing", "awaiting_confirmation", "claimed"],
    }
    return [Ended(*row) for row in fetch_all(statement, given)]

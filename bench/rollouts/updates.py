"""Many updates under way at once, made by SQL: what sweeps find on a bad day."""

from typing import Any

# Triggers write the trail and wake streams, as for any other.
_GIVE = """
WITH given AS (
  SELECT t.id, t.device_id, t.segment FROM releases_rollouttarget t
    JOIN devices_devicestate s ON s.device_id = t.device_id
    JOIN devices_device d ON d.id = t.device_id
   WHERE t.rollout_id = %(rollout)s AND t.update_id IS NULL AND t.left_out = ''
     AND d.device_id LIKE %(names)s
     AND s.health <> 'offline'
     AND NOT EXISTS (SELECT FROM releases_deviceupdate o WHERE o.device_id = t.device_id
                        AND o.finished_at IS NULL)
   ORDER BY t.bucket, t.id LIMIT %(count)s
), made AS (
  INSERT INTO releases_deviceupdate (
         organization_id, device_id, release_id, artifact_id, rollout_id, kind, segment,
         from_version, from_commit, to_version, to_commit, status, is_paused, keeps_place, step,
         failure_class, error_code, error, timings, verify_minutes, scheduled_at, offered_at,
         started_at, claimed_at, deadline_at, created_by, reason)
  SELECT r.organization_id, g.device_id, r.release_id, a.id, r.id, 'rollout', g.segment, '0.9.0',
         'abcdef0', l.version, l.commit, %(status)s, false, %(status)s = 'scheduled', '', '', '',
         '', '{}', 5, %(at)s, CASE WHEN %(status)s <> 'scheduled' THEN %(at)s END,
         CASE WHEN %(status)s = 'claimed' THEN %(at)s END,
         CASE WHEN %(status)s = 'claimed' THEN %(at)s END,
         CASE WHEN %(status)s <> 'scheduled' THEN %(at)s + interval '1 hour' END, 'bench', ''
    FROM given g, releases_rollout r
    JOIN releases_release l ON l.id = r.release_id
    JOIN releases_artifact a ON a.release_id = l.id
   WHERE r.id = %(rollout)s
  RETURNING id, device_id, to_version
), linked AS (
  UPDATE releases_rollouttarget t SET update_id = m.id
    FROM made m WHERE t.rollout_id = %(rollout)s AND t.device_id = m.device_id
)
UPDATE devices_device d SET target_version = m.to_version FROM made m WHERE d.id = m.device_id
"""
_FREE = """
UPDATE releases_rollouttarget t SET update_id = NULL
  FROM releases_deviceupdate u
 WHERE t.rollout_id = %(rollout)s AND u.id = t.update_id AND u.finished_at IS NOT NULL
"""
_ALIVE = """
UPDATE devices_devicestate SET last_seen = %(at)s, health = 'healthy'
"""
_SHOWN = """
UPDATE devices_devicestate s
   SET version = u.to_version, commit = u.to_commit, last_seen = %(at)s, health = 'healthy'
  FROM releases_deviceupdate u
 WHERE u.rollout_id = %(rollout)s AND u.status = 'claimed' AND s.device_id = u.device_id
"""


def give(rollout: Any, count: int, *, status: str, at: Any, names: str = "%") -> int:
    """Give so many devices of the rollout an update that has come so far; return how many."""
    from common import db

    asked = {"rollout": rollout.pk, "count": count, "status": status, "at": at, "names": names}
    made = db.execute(_GIVE, asked)
    db.execute("VACUUM ANALYZE releases_deviceupdate, releases_rollouttarget, devices_device")
    return made


def free(rollout: Any) -> None:
    """Let devices whose update has ended be given another."""
    from common import db

    db.execute(_FREE, {"rollout": rollout.pk})


def alive(*, at: Any) -> None:
    """Let every device have been heard of at a moment, a later one too."""
    from common import db

    db.execute(_ALIVE, {"at": at})
    db.execute("VACUUM ANALYZE devices_devicestate")


def shown(rollout: Any, *, at: Any) -> None:
    """Let the heartbeats of devices that claimed an update show it."""
    from common import db

    db.execute(_SHOWN, {"rollout": rollout.pk, "at": at})
    db.execute("VACUUM ANALYZE devices_devicestate")

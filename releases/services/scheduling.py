"""Giving the next devices of a rollout their update: one statement, however many they are."""

from datetime import datetime

from common.db import fetch_one
from releases.models import Rollout
from releases.services.candidates import candidates

# The bundle of the device's own role goes before the one for every role.
_SCHEDULE = """
WITH next AS MATERIALIZED ({next}), made AS (
  INSERT INTO releases_deviceupdate (
         organization_id, device_id, release_id, artifact_id, rollout_id, kind, segment,
         from_version, from_commit, to_version, to_commit, status, is_paused, keeps_place, step,
         failure_class, error_code, error, timings, verify_minutes, scheduled_at, created_by,
         reason)
  SELECT %(organization)s, n.device_id, %(release)s, a.id, %(rollout)s, 'rollout', n.segment,
         coalesce(n.version, ''), coalesce(n.commit, ''), %(version)s, %(commit)s, 'scheduled',
         false, n.is_there, '', '', '', '', '{{}}', %(verify_minutes)s, %(now)s, %(created_by)s, ''
    FROM next n
    JOIN LATERAL (SELECT id FROM releases_artifact
                   WHERE release_id = %(release)s AND status = 'stored' AND role IN (n.role, '')
                   ORDER BY role DESC LIMIT 1) a ON true
  ON CONFLICT DO NOTHING
  RETURNING id, device_id
), linked AS (
  UPDATE releases_rollouttarget t SET update_id = m.id
    FROM made m WHERE t.rollout_id = %(rollout)s AND t.device_id = m.device_id
), aimed AS (
  UPDATE devices_device d SET target_version = %(version)s, updated_at = %(now)s
    FROM made m WHERE d.id = m.device_id
)
SELECT count(*) FROM made
"""


def updates_schedule(*, rollout: Rollout, now: datetime) -> int:
    """Schedule as many updates as may begin now, on the devices whose turn it is; return how many.

    The caller holds the rollout's row: rate and concurrency are counted here, and stay exact.
    """
    found = candidates(rollout=rollout, now=now)
    if found is None:
        return 0
    release = rollout.release
    values = {
        **found.parameters,
        "organization": rollout.organization_id,
        "commit": release.commit,
        "verify_minutes": rollout.verify_minutes,
        "created_by": rollout.created_by,
    }
    return int(fetch_one(_SCHEDULE.format(next=found.statement), values)[0])

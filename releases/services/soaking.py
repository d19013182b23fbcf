"""Whether a stage has soaked, and whether a rollout is done: counted in the database."""

from datetime import datetime

from common.db import fetch_one
from releases.models import ENDED, OPEN, DeviceUpdate, Rollout, RolloutStage
from releases.services.gate_facts import BAD
from releases.services.promoting import next_stage, open_stage, soak_end
from releases.services.rollout_events import event_add
from releases.services.rollouts import stage_open

# Nothing is to be done on the device (any more): it runs the release, has failed at it, is gone.
_SETTLED = """(d.lifecycle = 'retired' OR s.version = %(version)s
   OR EXISTS (SELECT FROM releases_deviceupdate b WHERE b.device_id = d.id
                 AND b.release_id = %(release)s AND b.status = ANY(%(bad)s)))"""

_PROGRESS = f"""
SELECT count(*), count(*) FILTER (WHERE u.status = ANY(%(ended)s)
                                     OR (t.update_id IS NULL AND {_SETTLED}))
  FROM releases_rollouttarget t
  JOIN devices_device d ON d.id = t.device_id
  LEFT JOIN devices_devicestate s ON s.device_id = d.id
  LEFT JOIN releases_deviceupdate u ON u.id = t.update_id
 WHERE t.rollout_id = %(rollout)s AND t.segment = %(segment)s AND t.bucket < %(below)s
   AND t.left_out = ''
"""  # noqa: S608 - of constants

_UNSETTLED = f"""
SELECT EXISTS (
  SELECT FROM releases_rollouttarget t
    JOIN devices_device d ON d.id = t.device_id
    LEFT JOIN devices_devicestate s ON s.device_id = d.id
   WHERE t.rollout_id = %(rollout)s AND t.update_id IS NULL AND t.left_out = ''
     AND NOT coalesce({_SETTLED}, false))
"""  # noqa: S608 - of constants


def _values(rollout: Rollout) -> dict[str, object]:
    return {
        "rollout": rollout.pk,
        "version": rollout.release.version,
        "release": rollout.release_id,
        "bad": [str(one) for one in BAD],
    }


def soak_watch(*, rollout: Rollout, now: datetime) -> None:
    """Let the soak time of the open stage begin when enough of its devices have ended.

    Once it is over, a rollout that goes on by itself opens the next stage.
    """
    stages = list(rollout.stages.order_by("position"))
    stage, following = open_stage(stages), next_stage(stages)
    if stage is None or following is None:
        return
    if stage.soaking_since is None:
        _soak_begin(rollout, stage, now)
    end = soak_end(stage)
    if rollout.auto_promote and end and end <= now:
        stage_open(rollout, following, "the plan", now)


def _soak_begin(rollout: Rollout, stage: RolloutStage, now: datetime) -> None:
    values = {
        **_values(rollout),
        "segment": stage.segment,
        "below": 100 * stage.percentage,
        "ended": list(ENDED),
    }
    total, ended = fetch_one(_PROGRESS, values)
    if ended * 100 < stage.soak_after_percent * total:
        return
    stage.soaking_since = now
    stage.save(update_fields=["soaking_since"])
    event_add(rollout, "soaking", f"{ended} of {total} devices of {stage.segment} have ended.", now,
              segment=stage.segment, soak_minutes=stage.soak_minutes)  # fmt: skip


def is_done(*, rollout: Rollout) -> bool:
    """Say whether nothing is left to do on any device that is not left out."""
    if DeviceUpdate.objects.filter(rollout=rollout, status__in=OPEN).exists():
        return False
    return not fetch_one(_UNSETTLED, _values(rollout))[0]

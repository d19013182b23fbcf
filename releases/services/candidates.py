"""Who is next: the gates of releases.services.gates as one statement.

A test compares the two on generated fleets. What is the same for every device of a rollout is
asked once, in Python; the rest in SQL, stage by stage and along an index, so that the database
stops as soon as enough are found.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common import limits
from common.db import fetch_all
from releases.models import OPEN, Artifact, Release, Rollout, RolloutStage
from releases.services.gate_facts import BAD
from releases.services.manifests import reach_of
from releases.services.openings import Opening, closed_sites
from releases.services.places import crowd_of
from releases.trust.paths import trust_of

_ARM = """
SELECT * FROM (
  SELECT t.id, t.device_id, t.segment, d.role, s.version, s.commit, NOT {away} AS is_there
    FROM releases_rollouttarget t
    JOIN devices_device d ON d.id = t.device_id
    LEFT JOIN devices_devicestate s ON s.device_id = d.id
    LEFT JOIN devices_devicerecovery r ON r.device_id = d.id
   WHERE t.rollout_id = %(rollout)s AND t.update_id IS NULL AND t.left_out = ''
     AND t.segment = %(segment_{at})s AND t.bucket < %(below_{at})s
     AND (coalesce(s.health, '') = 'offline') = {away}
     AND {fit}
   ORDER BY t.bucket, t.id
   LIMIT %(limit)s
     FOR NO KEY UPDATE OF d SKIP LOCKED) arm_{at}_{away}
"""
# lifecycle, safe_mode, quarantine, maintenance, update_enabled, role, artifact, version_lock,
# running, calendar, tried, other_update.
FIT = """d.lifecycle = 'active' AND NOT d.safe_mode
     AND (r.quarantined_until IS NULL OR r.quarantined_until <= %(now)s)
     AND NOT d.maintenance_mode AND d.update_enabled
     AND (%(roles)s::text[] = '{}' OR d.role = ANY(%(roles)s::text[]))
     AND ('' = ANY(%(bundles)s::text[]) OR d.role = ANY(%(bundles)s::text[]))
     AND (d.version_lock IN ('', %(version)s) OR d.version_lock_expires_at <= %(now)s)
     AND coalesce(s.version, '') <> %(version)s
     AND d.site <> ALL(%(closed)s::text[])
     AND NOT EXISTS (SELECT FROM releases_deviceupdate u WHERE u.device_id = d.id
                        AND (u.status = ANY(%(open)s)
                             OR u.release_id = %(release)s AND u.status = ANY(%(bad)s)))"""


@dataclass(frozen=True)
class Candidates:
    """A statement with the columns id, device_id, segment, role, version, commit and is_there."""

    statement: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Room:
    """How many updates may begin now, and how many of them on devices that are away.

    Devices that are there come first: one that is away may take days. It takes no place from
    them, but no more than there are places wait for such devices.
    """

    limit: int
    away: int


def candidates(*, rollout: Rollout, now: datetime) -> Candidates | None:
    """Return the statement that finds the next targets, or None when nobody can be next.

    It locks the devices it finds, and leaves out those somebody else has locked.
    """
    room = room_of(rollout, now)
    stages = _stages_of(rollout) if room.limit and _is_open(rollout, now) else []
    if not stages:
        return None
    parameters = {
        **fit_parameters(rollout, now),
        "rollout": rollout.pk,
        "limit": room.limit,
        "limit_away": room.away,
    }
    for at, stage in enumerate(stages):
        parameters |= {f"segment_{at}": stage.segment, f"below_{at}": 100 * stage.percentage}
    there, away = (_arms(away, len(stages)) for away in ("false", "true"))
    # Of constants and counted stages; every value is a parameter.
    statement = f"{there} UNION ALL (SELECT * FROM ({away}) away LIMIT %(limit_away)s)"  # noqa: S608
    return Candidates(f"{statement} LIMIT %(limit)s", parameters)


def _arms(away: str, stages: int) -> str:
    return "UNION ALL".join(_ARM.format(at=at, away=away, fit=FIT) for at in range(stages))


def candidate_ids(*, rollout: Rollout, now: datetime) -> list[int]:
    """Return the ids of the targets that are next."""
    found = candidates(rollout=rollout, now=now)
    return [row[0] for row in fetch_all(found.statement, found.parameters)] if found else []


def room_of(rollout: Rollout, now: datetime) -> Room:
    """Return how many updates may begin now: by rate, by concurrency, and in one go."""
    crowd, limit = crowd_of(rollout, now), limits.ROLLOUT_CHUNK
    if rollout.rate_per_minute is not None:
        limit = min(limit, rollout.rate_per_minute - crowd.begun)
    if rollout.concurrency is None:
        return Room(max(0, limit), away=max(0, limit))
    limit = max(0, min(limit, rollout.concurrency - crowd.held))
    return Room(limit, away=max(0, min(limit, rollout.concurrency - crowd.waiting)))


def _is_open(rollout: Rollout, now: datetime) -> bool:
    return (
        rollout.status == Rollout.Status.RUNNING
        and rollout.release.state == Release.State.PUBLISHED
        and Opening.of_rollout(rollout).is_open(now)
    )


def _stages_of(rollout: Rollout) -> list[RolloutStage]:
    """Return the open stages somebody has vouched for."""
    reach = reach_of(rollout.release)
    opened = rollout.stages.filter(opened_at__isnull=False).order_by("position")
    return [one for one in opened if trust_of(one.segment) in reach]


def fit_parameters(rollout: Rollout, now: datetime) -> dict[str, Any]:
    """Return the values FIT names."""
    release = rollout.release
    bundles = Artifact.objects.stored().filter(release=release)
    closed = closed_sites(organization_id=rollout.organization_id, now=now)
    return {
        "now": now,
        "release": release.pk,
        "version": release.version,
        "roles": list(release.roles),
        "bundles": list(bundles.values_list("role", flat=True)),
        # A site without a name has no calendar.
        "closed": [one for one in closed if one] if rollout.use_calendars else [],
        "open": list(OPEN),
        "bad": [str(one) for one in BAD],
    }

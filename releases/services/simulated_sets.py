"""Counting what a plan would do, in the database: devices, gates, bytes, overlaps, differences."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.db import fetch_all, fetch_one
from releases.models import Artifact, Release, Rollout
from releases.services.gate_facts import BAD
from releases.services.targets import Chosen

SITES = 200
NAMED = 100
PAGE = 200

# The gates of a device alone, in their order; the first that is closed counts.
_GATE = """CASE WHEN d.lifecycle <> 'active' THEN 'lifecycle'
       WHEN d.safe_mode THEN 'safe_mode'
       WHEN r.quarantined_until > %(now)s THEN 'quarantine'
       WHEN d.maintenance_mode THEN 'maintenance'
       WHEN NOT d.update_enabled THEN 'update_enabled'
       WHEN d.version_lock NOT IN ('', %(version)s)
            AND coalesce(d.version_lock_expires_at > %(now)s, true) THEN 'version_lock'
       WHEN s.version = %(version)s THEN 'running'
       WHEN coalesce(b.size, a.size) IS NULL THEN 'artifact'
       WHEN u.bad THEN 'tried'
       WHEN u.opened THEN 'other_update'
       ELSE '' END"""

_COUNTS = f"""
SELECT c.segment, c.part, c.gate, c.site, count(*), coalesce(sum(c.size), 0)
  FROM (
    SELECT c.segment, c.site, coalesce(b.size, a.size) AS size, {_GATE} AS gate,
           CASE WHEN c.bucket >= %(held_from)s THEN 'held'
                WHEN c.bucket < p.below THEN 'now' ELSE 'later' END AS part
      FROM ({{chosen}}) c
      JOIN devices_device d ON d.id = c.id
      JOIN unnest(%(segments)s::text[], %(below)s::int[]) AS p(segment, below)
           ON p.segment = c.segment
      LEFT JOIN devices_devicestate s ON s.device_id = c.id
      LEFT JOIN devices_devicerecovery r ON r.device_id = c.id
      LEFT JOIN unnest(%(roles)s::text[], %(sizes)s::bigint[]) AS b(role, size)
           ON b.role = d.role AND b.role <> ''
      LEFT JOIN unnest(%(roles)s::text[], %(sizes)s::bigint[]) AS a(role, size) ON a.role = ''
      LEFT JOIN (SELECT u.device_id, bool_or(u.status = ANY(%(bad)s)) AS bad,
                        bool_or(u.status <> ALL(%(bad)s)) AS opened
                   FROM releases_deviceupdate u
                  WHERE u.organization_id = %(organization)s
                    AND (u.finished_at IS NULL AND u.rollout_id IS DISTINCT FROM %(rollout)s
                         OR u.release_id = %(release)s AND u.status = ANY(%(bad)s))
                  GROUP BY u.device_id) u ON u.device_id = c.id
  ) c
 GROUP BY c.segment, c.part, c.gate, c.site
"""  # noqa: S608 - of constants

_OVERLAPS = """
SELECT o.id, o.name, count(*)
  FROM ({chosen}) c
  JOIN releases_rollouttarget t ON t.device_id = c.id AND t.left_out = ''
  JOIN releases_rollout o ON o.id = t.rollout_id
  LEFT JOIN releases_deviceupdate u ON u.id = t.update_id
 WHERE o.organization_id = %(organization)s AND o.release_id <> %(release)s
   AND o.status IN ('awaiting_approval', 'running', 'paused', 'halted')
   AND (t.update_id IS NULL OR u.finished_at IS NULL)
 GROUP BY o.id, o.name ORDER BY count(*) DESC, o.id LIMIT 20
"""

_DIFFERENCE = """
WITH live AS MATERIALIZED ({chosen}), differing AS (
  SELECT coalesce(live.device_id, d.device_id) AS device_id, t.id IS NULL AS joined
    FROM live
    FULL JOIN (SELECT id, device_id FROM releases_rollouttarget
                WHERE rollout_id = %(frozen)s) t ON t.device_id = live.id
    LEFT JOIN devices_device d ON d.id = t.device_id
   WHERE t.id IS NULL OR live.id IS NULL)
SELECT count(*) FILTER (WHERE joined), count(*) FILTER (WHERE NOT joined),
       (array_agg(device_id ORDER BY device_id) FILTER (WHERE joined))[1:%(named)s],
       (array_agg(device_id ORDER BY device_id) FILTER (WHERE NOT joined))[1:%(named)s]
  FROM differing
"""

_PAGE = """
SELECT c.id, c.device_id, c.segment, c.bucket, c.site FROM ({chosen}) c
 WHERE c.segment = %(segment)s ORDER BY c.bucket, c.device_id LIMIT %(page)s OFFSET %(offset)s
"""

# The frozen devices, with the columns of a live selection.
_FROZEN = """
SELECT d.id, d.organization_id, d.device_id, t.segment, d.role, d.site, t.bucket
  FROM releases_rollouttarget t JOIN devices_device d ON d.id = t.device_id
 WHERE t.rollout_id = %(frozen)s
"""


@dataclass(frozen=True)
class Count:
    """So many devices of a segment; `part` is now, later or held, `gate` what is closed."""

    segment: str
    part: str
    gate: str
    site: str
    devices: int
    bytes: int


def frozen_of(rollout: Rollout) -> Chosen:
    """Return the devices a rollout has been frozen with."""
    return Chosen(_FROZEN, {"frozen": rollout.pk})


def counts_of(
    *,
    chosen: Chosen,
    release: Release,
    rollout: Rollout | None,
    stages: list[dict[str, Any]],
    held_from: int,
    now: datetime,
) -> list[Count]:
    """Count the devices by stage, part, closed gate and site."""
    bundles = list(Artifact.objects.stored().filter(release=release).values_list("role", "size"))
    values = {
        **chosen.parameters,
        "now": now,
        "version": release.version,
        "release": release.pk,
        "organization": release.organization_id,
        "rollout": rollout.pk if rollout else None,
        "held_from": held_from,
        "segments": [one["segment"] for one in stages],
        "below": [100 * one["percentage"] for one in stages],
        "roles": [role for role, _ in bundles],
        "sizes": [size for _, size in bundles],
        "bad": [str(one) for one in BAD],
    }
    return [Count(*row) for row in fetch_all(_COUNTS.format(chosen=chosen.statement), values)]


def overlaps_of(*, chosen: Chosen, release: Release) -> list[dict[str, Any]]:
    """Return the rollouts of other releases that still want devices of these."""
    values = {
        **chosen.parameters,
        "organization": release.organization_id,
        "release": release.pk,
    }
    rows = fetch_all(_OVERLAPS.format(chosen=chosen.statement), values)
    return [{"rollout_id": pk, "name": name, "devices": count} for pk, name, count in rows]


def difference_of(*, rollout: Rollout, live: Chosen) -> dict[str, Any]:
    """Return what the selection means now that it did not when it was frozen, and the reverse."""
    values = {**live.parameters, "frozen": rollout.pk, "named": NAMED}
    joined, left, joining, leaving = fetch_one(_DIFFERENCE.format(chosen=live.statement), values)
    return {
        "joined": joined,
        "left": left,
        "joined_devices": joining or [],
        "left_devices": leaving or [],
    }


def devices_page(*, chosen: Chosen, segment: str, page: int) -> list[dict[str, Any]]:
    """Return a page of a stage's devices, in the order in which they are taken; from page 1."""
    values = {
        **chosen.parameters,
        "segment": segment,
        "page": PAGE,
        "offset": (page - 1) * PAGE,
    }
    rows = fetch_all(_PAGE.format(chosen=chosen.statement), values)
    names = ("id", "device_id", "segment", "bucket", "site")
    return [dict(zip(names, row, strict=True)) for row in rows]

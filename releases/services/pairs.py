"""Comparing updated devices with others like them: who is paired, and what became of both.

What the pairs say is counted into `Rollout.evidence`, which the guardrails read.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Count, F, Q

from common import limits
from common.db import fetch_all, only_one_runs
from common.ids import uuid7
from devices.models import Device
from releases.evidence import Evidence
from releases.models import HealthPair, Rollout
from releases.services.guardrails import OBSERVE_MINUTES, since_of

_MINUTES = f"coalesce((r.regression->>'observe_minutes')::integer, {OBSERVE_MINUTES})"

# Claimed updates that have no pair yet, with what their device was before: its health is that of
# the last heartbeat before it was offered. Older claims are left alone: their time is over. What
# was paired a moment ago is taken out by a list, as no statistics know of it yet.
_FRESH = f"""
    SELECT u.*, d.role, d.site,
           coalesce((SELECT h.health FROM devices_heartbeat h
                      WHERE h.device_id = u.device_id
                        AND h.at < u.left_at AND h.at > u.scheduled_at - interval '1 day'
                      ORDER BY h.at DESC LIMIT 1), 'healthy') AS health
      FROM (SELECT u.id, u.organization_id, u.rollout_id, u.device_id, u.to_version, u.claimed_at,
                   u.scheduled_at, coalesce(u.offered_at, u.scheduled_at) AS left_at,
                   {_MINUTES} AS minutes
              FROM releases_rollout r
              JOIN releases_deviceupdate u ON u.rollout_id = r.id AND u.kind = 'rollout'
             WHERE r.status IN ('running', 'paused')
               AND coalesce((r.regression->>'enabled')::boolean, true)
               AND u.status IN ('claimed', 'verified', 'failed', 'rolled_back')
               AND u.claimed_at > %(now)s - {_MINUTES} * interval '1 minute'
               AND u.failure_class <> 'false_success'
               AND u.id NOT IN (SELECT update_id FROM releases_healthpair
                                 WHERE judged_at IS NULL AND due_at > %(now)s)
             ORDER BY u.claimed_at, u.id LIMIT %(rows)s) u
      JOIN devices_device d ON d.id = u.device_id"""  # noqa: S608 - only constants are put in
# Who stands beside an update of these rollouts already.
_USED = """
    SELECT rollout_id, control_id FROM releases_healthpair
     WHERE rollout_id IN (SELECT rollout_id FROM fresh)"""
_UNUSED = "(f.rollout_id, {device}) NOT IN (SELECT rollout_id, control_id FROM used)"
# Of one segment of a rollout: those whose turn comes last.
_LAST = """
    (SELECT t.device_id, false AS kept_out, t.bucket FROM releases_rollouttarget t
      WHERE t.rollout_id = f.rollout_id AND t.segment = '{segment}'
        AND t.update_id IS NULL AND t.left_out = '' AND {unused}
      ORDER BY t.bucket DESC LIMIT %(looked_at)s)"""
_KEPT_OUT = """
    (SELECT t.device_id, true, t.bucket FROM releases_rollouttarget t
      WHERE t.rollout_id = f.rollout_id AND t.update_id IS NULL AND t.left_out <> '' AND {unused}
      ORDER BY t.bucket DESC LIMIT %(looked_at)s)"""
# Not in the rollout at all. However many are, as many are looked at.
_OUTSIDE = """
    (SELECT o.id, false, 10000
       FROM (SELECT id FROM devices_device
              WHERE organization_id = f.organization_id AND role IN (SELECT role FROM fresh)
              LIMIT %(looked_at)s) o
      WHERE NOT EXISTS (SELECT FROM releases_rollouttarget t
                         WHERE t.rollout_id = f.rollout_id AND t.device_id = o.id)
        AND {unused})"""
_CHOICE = "UNION ALL".join(
    [
        *(
            _LAST.format(segment=segment, unused=_UNUSED.format(device="t.device_id"))
            for segment in Device.Segment.values
        ),
        _KEPT_OUT.format(unused=_UNUSED.format(device="t.device_id")),
        _OUTSIDE.format(unused=_UNUSED.format(device="o.id")),
    ]
)
# Who could stand beside them: present, left in peace, not updated by the rollout and not about to
# be, and not used by it before. Those who are last in its order come first: they stay longest.
# Found along indexes, so that it costs the same however large the fleet is.
_SPARE = f"""
    SELECT f.rollout_id, d.id AS device_id, d.role, d.site, s.health, c.kept_out, c.bucket
      FROM (SELECT DISTINCT rollout_id, organization_id, to_version FROM fresh) f
     CROSS JOIN LATERAL ({_CHOICE}) c
      JOIN devices_device d ON d.id = c.device_id
      JOIN devices_devicestate s ON s.device_id = d.id
     WHERE d.role IN (SELECT role FROM fresh)
       AND d.lifecycle = 'active' AND NOT d.safe_mode AND NOT d.maintenance_mode
       AND s.version <> f.to_version
       AND NOT EXISTS (SELECT FROM releases_deviceupdate o
                        WHERE o.device_id = d.id
                          AND o.status IN ('scheduled', 'offered', 'downloading', 'installing',
                                           'awaiting_confirmation', 'claimed'))"""  # noqa: S608 - of constants

# Within a group of devices that are alike the n-th update gets the n-th spare device:
# deterministic, and no device twice.
_ALIKE = """
    SELECT w.id, w.organization_id, w.rollout_id, g.device_id,
           w.claimed_at + w.minutes * interval '1 minute' AS due_at
      FROM (SELECT *, row_number() OVER (PARTITION BY rollout_id, role, health{site}
                                         ORDER BY claimed_at, id) AS n
              FROM {wanted}) w
      JOIN (SELECT *, row_number() OVER (PARTITION BY rollout_id, role, health{site}
                                         ORDER BY kept_out DESC, bucket DESC, device_id) AS n
              FROM {given}) g USING (rollout_id, role, health{site}, n)"""
# First at the same site, then the rest of both anywhere.
_PAIRS = f"""
WITH fresh AS MATERIALIZED ({_FRESH}), used AS MATERIALIZED ({_USED}), spare AS MATERIALIZED ({
    _SPARE
}),
near AS MATERIALIZED ({_ALIKE.format(site=", site", wanted="fresh", given="spare")}),
far AS ({
    _ALIKE.format(
        site="",
        wanted="fresh WHERE id NOT IN (SELECT id FROM near)",
        given='''spare a WHERE NOT EXISTS (SELECT FROM near n WHERE n.rollout_id = a.rollout_id
                                                        AND n.device_id = a.device_id)''',
    )
})
SELECT * FROM near UNION ALL SELECT * FROM far
"""  # noqa: S608 - of constants

# A device began anew as often as its boot id changed. `of` is whose, `began` when the time of
# comparison began, `before` when the same time before it ended.
_RESTARTS = """
    (SELECT count(DISTINCT h.boot_id) FILTER (WHERE h.at >= {began})
            > count(DISTINCT h.boot_id) FILTER (WHERE h.at < {before})
       FROM devices_heartbeat h
      WHERE h.device_id = {of} AND h.boot_id <> ''
        AND h.at > {before} - ({ended} - {began}) AND h.at <= {ended}
     HAVING count(DISTINCT h.boot_id) FILTER (WHERE h.at < {before}) > 0)"""
_UPDATED_AGAIN = _RESTARTS.format(
    of="u.device_id", began="u.claimed_at", before="coalesce(u.offered_at, u.scheduled_at)",
    ended="p.due_at",
)  # fmt: skip
_CONTROL_AGAIN = _RESTARTS.format(
    of="p.control_id", began="p.matched_at", before="p.matched_at", ended="p.due_at"
)

# A pair whose other half was updated or taken away meanwhile says nothing.
_JUDGE = f"""
WITH due AS (
    SELECT p.id, c.lifecycle <> 'active' OR c.maintenance_mode OR EXISTS (
                 SELECT FROM releases_deviceupdate o
                  WHERE o.device_id = p.control_id AND o.offered_at > p.matched_at) AS void,
           us.health IN ('degraded', 'failed', 'offline') OR u.status = 'rolled_back'
                 OR u.status = 'failed' AND u.failure_class = 'health'
                 OR coalesce({_UPDATED_AGAIN}, false) AS updated_is_bad,
           cs.health IN ('degraded', 'failed', 'offline')
                 OR coalesce({_CONTROL_AGAIN}, false) AS control_is_bad
      FROM releases_healthpair p
      JOIN releases_deviceupdate u ON u.id = p.update_id
      JOIN devices_devicestate us ON us.device_id = u.device_id
      JOIN devices_device c ON c.id = p.control_id
      JOIN devices_devicestate cs ON cs.device_id = p.control_id
     WHERE p.judged_at IS NULL AND p.due_at <= %(now)s
     ORDER BY p.due_at LIMIT %(rows)s FOR UPDATE OF p SKIP LOCKED
)
UPDATE releases_healthpair p
   SET judged_at = %(now)s,
       updated_is_bad = CASE WHEN NOT due.void THEN due.updated_is_bad END,
       control_is_bad = CASE WHEN NOT due.void THEN due.control_is_bad END
  FROM due WHERE p.id = due.id
RETURNING p.rollout_id
"""  # noqa: S608 - of constants


@transaction.atomic
def pairs_match(*, now: datetime) -> int:
    """Pair freshly claimed updates with devices like them; return how many found one."""
    if not only_one_runs("releases.pairs_match"):
        return 0
    asked = {"now": now, "rows": limits.PAIRS_PER_ROUND, "looked_at": limits.PAIRS_LOOKED_AT}
    found = fetch_all(_PAIRS, asked)
    HealthPair.objects.bulk_create(
        [
            HealthPair(
                id=uuid7(),
                organization_id=organization_id,
                rollout_id=rollout_id,
                update_id=update_id,
                control_id=control_id,
                matched_at=now,
                due_at=due_at,
            )
            for update_id, organization_id, rollout_id, control_id, due_at in found
        ],
        batch_size=1_000,
    )
    return len(found)


@transaction.atomic
def pairs_judge(*, now: datetime) -> int:
    """Look at both devices of every pair whose time has come; return how many pairs."""
    if not only_one_runs("releases.pairs_judge"):
        return 0
    judged = fetch_all(_JUDGE, {"now": now, "rows": limits.UPDATE_SWEEP_ROWS})
    for rollout_id in sorted({rollout_id for (rollout_id,) in judged}):
        _count(rollout_id)
    return len(judged)


def _count(rollout_id: UUID) -> None:
    rollout = Rollout.objects.select_for_update().get(pk=rollout_id)
    pairs = HealthPair.objects.filter(rollout=rollout, updated_is_bad__isnull=False)
    if since := since_of(rollout):
        pairs = pairs.filter(judged_at__gt=since)
    worse, better = Q(updated_is_bad=True), Q(control_is_bad=True)
    counted: dict[str, Any] = pairs.aggregate(
        updated_worse=Count("pk", filter=worse & ~better),
        control_worse=Count("pk", filter=better & ~worse),
        ties=Count("pk", filter=Q(updated_is_bad=F("control_is_bad"))),
    )
    evidence = Evidence(**counted)
    rollout.evidence = {**rollout.evidence, **counted, "log_e": round(evidence.log_e, 6)}
    rollout.save(update_fields=["evidence"])

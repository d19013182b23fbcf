"""What the portal does by itself: presence, partitions, signs of life. All safe to run twice."""

from collections import defaultdict
from datetime import date, datetime, timedelta
from uuid import UUID

from django.db import transaction

from accounts.models import Organization
from audit import services as audit
from common import db, limits
from common.ids import uuid7
from devices.models import Device, DeviceEvent, Heartbeat, ServicePulse

# Silence of this many intervals is absence; who came and went often gets more patience.
PATIENCE = 1.5
PATIENCE_FLAPPING = 3.0
FLAPS_TO_DAMP = 3
FLAP_WINDOW = timedelta(hours=1)
# A gap in the gateway's own pulse longer than this means the portal was not listening.
PULSE_GAP = timedelta(seconds=30)

PARTITIONS_AHEAD = 10

# A fleet is gone through every few seconds: the shortest interval of its organisation leaves few
# rows whose device has to be looked up. Nothing is ordered, that would cost another tenfold.
_MARK_OFFLINE = """
WITH listening AS (
    SELECT since FROM devices_servicepulse
     WHERE name = 'gateway' AND at > %(now)s - %(gap)s
), shortest AS (
    SELECT o.id, least(o.heartbeat_interval_s, min(d.heartbeat_interval_s)) * interval '1 second'
                 AS every
      FROM accounts_organization o
      LEFT JOIN devices_device d
             ON d.organization_id = o.id AND d.heartbeat_interval_s IS NOT NULL
     GROUP BY o.id
), silent AS (
    SELECT s.device_id, s.last_seen
      FROM devices_devicestate s
     CROSS JOIN listening
      JOIN shortest ON shortest.id = s.organization_id
       AND greatest(s.last_seen, listening.since) < %(now)s - shortest.every * %(patience)s
      JOIN devices_device d ON d.id = s.device_id
      JOIN accounts_organization o ON o.id = d.organization_id
     WHERE s.health NOT IN ('offline', 'unknown')
       AND d.lifecycle IN ('active', 'quarantined')
       AND (d.status_override = '' OR d.status_override_until <= %(now)s)
       AND greatest(s.last_seen, listening.since)
           + coalesce(d.heartbeat_interval_s, o.heartbeat_interval_s) * interval '1 second'
           * CASE WHEN s.flaps >= %(flaps)s AND s.flaps_since > %(now)s - %(window)s
                  THEN %(damped)s ELSE %(patience)s END < %(now)s
     LIMIT %(rows)s
       FOR UPDATE OF s SKIP LOCKED
)
UPDATE devices_devicestate s
   SET health = 'offline', health_since = %(now)s,
       flaps = CASE WHEN s.flaps_since > %(now)s - %(window)s THEN s.flaps + 1 ELSE 1 END,
       flaps_since = CASE WHEN s.flaps_since > %(now)s - %(window)s THEN s.flaps_since
                          ELSE %(now)s END
  FROM silent
 WHERE s.device_id = silent.device_id
RETURNING s.device_id, s.organization_id, s.last_seen
"""


@transaction.atomic
def devices_mark_offline(*, now: datetime) -> int:
    """Mark devices offline that kept silent too long; return how many.

    Too long is 1.5 of the device's own interval, or 3 for one that went offline three times
    within the hour. Silence counts only while the gateway was listening: after an outage of the
    portal nobody is blamed for it. One audit entry per organisation and sweep. Of very many that
    fall silent at once, the rest are marked by the next sweeps.
    """
    # Where many devices have intervals of their own, a million are still looked up.
    db.statements_may_take(seconds=30)
    rows = db.fetch_all(
        _MARK_OFFLINE,
        {
            "now": now,
            "rows": limits.OFFLINE_SWEEP_ROWS,
            "gap": PULSE_GAP,
            "window": FLAP_WINDOW,
            "flaps": FLAPS_TO_DAMP,
            "patience": PATIENCE,
            "damped": PATIENCE_FLAPPING,
        },
    )
    DeviceEvent.objects.bulk_create(
        [
            DeviceEvent(
                id=uuid7(),
                organization_id=organization_id,
                device_id=device_id,
                at=now,
                kind="health",
                severity=DeviceEvent.Severity.WARNING,
                message=f"Offline: last heard of {last_seen:%Y-%m-%d %H:%M:%S} UTC",
            )
            for device_id, organization_id, last_seen in rows
        ],
        batch_size=1_000,
    )
    silent: dict[UUID, list[UUID]] = defaultdict(list)
    for device_id, organization_id, _ in rows:
        silent[organization_id].append(device_id)
    for organization_id, device_ids in silent.items():
        _record_offline(organization_id, device_ids)
    return len(rows)


def _record_offline(organization_id: UUID, device_ids: list[UUID]) -> None:
    named = Device.objects.filter(pk__in=device_ids[:50]).order_by("device_id")
    audit.record(
        actor=None,
        organization=Organization.objects.get(pk=organization_id),
        action="device.offline",
        target=named[0] if len(device_ids) == 1 else None,
        after={"count": len(device_ids), "devices": [device.device_id for device in named]},
    )


def pulse(*, name: str) -> None:
    """Note that a part of the portal is alive; `since` starts anew after a gap."""
    db.execute(
        """
        INSERT INTO devices_servicepulse AS p (name, since, at)
             VALUES (%(name)s, clock_timestamp(), clock_timestamp())
        ON CONFLICT (name) DO UPDATE SET
               since = CASE WHEN p.at < clock_timestamp() - %(gap)s THEN clock_timestamp()
                            ELSE p.since END,
               at = clock_timestamp()
        """,
        {"name": name, "gap": PULSE_GAP},
    )


def pulse_age(*, name: str, now: datetime) -> float | None:
    """Return the seconds since the last sign of life, None when there never was one."""
    found = ServicePulse.objects.filter(name=name).first()
    return (now - found.at).total_seconds() if found else None


@transaction.atomic
def partitions_keep(*, now: datetime) -> tuple[int, int]:
    """Make the partitions of the coming days and drop those nobody keeps any more.

    Returns how many were made and dropped. An organisation that keeps less than the longest
    retention has its rows deleted from the partitions others still need.
    """
    if not db.only_one_runs("partitions_keep"):
        return 0, 0
    made = int(
        db.fetch_one(
            "SELECT devices_heartbeat_partitions(%s, %s)",
            [now.date() - timedelta(days=2), PARTITIONS_AHEAD + 2],
        )[0]
    )
    retentions = dict(Organization.objects.values_list("pk", "heartbeat_retention_days"))
    longest = max(retentions.values(), default=30)
    dropped = _partitions_drop(before=now.date() - timedelta(days=longest))
    for organization_id, days in retentions.items():
        if days < longest:
            Heartbeat.objects.filter(
                organization_id=organization_id, at__lt=now - timedelta(days=days)
            ).delete()
    return made, dropped


def _partitions_drop(*, before: date) -> int:
    names = [
        name
        for (name,) in db.fetch_all(
            "SELECT inhrelid::regclass::text FROM pg_inherits"
            " WHERE inhparent = 'devices_heartbeat'::regclass ORDER BY 1"
        )
    ]
    old = [name for name in names if name.rsplit("_", 1)[1] < f"{before:%Y%m%d}"]
    for name in old:
        db.execute(f"DROP TABLE {name}")
    return len(old)

"""When devices of a plan will be heard of: a sample of them, and how they were there last week."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from uuid import UUID

from django.db.models import F

from common.db import fetch_all
from releases.models import DeviceUpdate, SiteCalendar
from releases.services.openings import Opening
from releases.services.targets import Chosen

HOURS = 7 * 24
HOUR = timedelta(hours=1)
# Devices looked at of each stage; their order is a hash, so that the first ones are any ones.
SAMPLE = 100
# How long an update takes where the organisation has none to learn from.
USUAL_MINUTES = 10.0
_LEARNT_FROM = 500

# One look along the primary key for each hour of a device; heartbeats are never counted.
_SAMPLE = """
SELECT c.segment, c.site, s.health NOT IN ('offline', 'unknown'),
       coalesce(d.heartbeat_interval_s, o.heartbeat_interval_s),
       ARRAY(SELECT hour FROM generate_series(0, %(hours)s - 1) hour
              WHERE EXISTS (SELECT FROM devices_heartbeat h WHERE h.device_id = c.id
                               AND h.at >= %(since)s::timestamptz + hour * interval '1 hour'
                               AND h.at < %(since)s::timestamptz + (hour + 1) * interval '1 hour'))
  FROM unnest(%(segments)s::text[]) AS stage(segment)
 CROSS JOIN LATERAL (SELECT c.* FROM ({chosen}) c
                      WHERE c.segment = stage.segment AND c.bucket < %(held_from)s
                      ORDER BY c.bucket LIMIT %(sample)s) c
  JOIN devices_device d ON d.id = c.id
  JOIN accounts_organization o ON o.id = d.organization_id
  JOIN devices_devicestate s ON s.device_id = c.id
 WHERE d.lifecycle = 'active'
"""


@dataclass(frozen=True)
class Presence:
    """A device of the sample: whether it is there now, and in which hours of last week it was."""

    site: str
    is_there: bool
    interval_s: int
    hours: frozenset[int]


def presences_of(
    *, chosen: Chosen, segments: list[str], held_from: int, now: datetime
) -> dict[str, list[Presence]]:
    """Return a sample of the devices of each segment."""
    rows = fetch_all(
        _SAMPLE.format(chosen=chosen.statement),
        {
            **chosen.parameters,
            "segments": segments,
            "held_from": held_from,
            "hours": HOURS,
            "since": now - HOURS * HOUR,
            "sample": SAMPLE,
        },
    )
    found: dict[str, list[Presence]] = {}
    for segment, site, is_there, interval_s, hours in rows:
        found.setdefault(segment, []).append(Presence(site, is_there, interval_s, frozenset(hours)))
    return found


class Openings:
    """When the devices of a site may begin, hour by hour of the coming week."""

    def __init__(
        self, *, organization_id: UUID, opening: Opening, use_calendars: bool, now: datetime
    ) -> None:
        calendars = SiteCalendar.objects.filter(organization_id=organization_id)
        self._now = now
        self._plan = opening.hours(now, HOURS)
        self._calendars = {one.site: one for one in calendars if use_calendars and one.site}
        self._known: dict[str, list[bool]] = {}

    def of(self, site: str) -> Sequence[bool]:
        """Return for each hour whether updates may begin at the site."""
        if site not in self._calendars:
            return self._plan
        if site not in self._known:
            hours = Opening.of_calendar(self._calendars[site]).hours(self._now, HOURS)
            self._known[site] = [a and b for a, b in zip(self._plan, hours, strict=True)]
        return self._known[site]


def delays_of(
    presences: Sequence[Presence], openings: Openings, *, from_hour: int
) -> list[timedelta | None]:
    """Return how long after `from_hour` each device can begin; None: not within the week.

    The coming week is taken to be like the last one.
    """
    return sorted(
        (_delay(one, openings.of(one.site), from_hour) for one in presences),
        key=lambda delay: (delay is None, delay or timedelta()),
    )


def _delay(one: Presence, is_open: Sequence[bool], from_hour: int) -> timedelta | None:
    for hour in range(from_hour, HOURS):
        is_there = one.is_there if hour == 0 else hour in one.hours
        if is_open[hour] and is_there:
            return (hour - from_hour) * HOUR + timedelta(seconds=one.interval_s)
    return None


def share_of(delays: Sequence[timedelta | None], percent: float) -> timedelta | None:
    """Return after how long so many per cent of the devices can have begun."""
    if not delays:
        return None
    return delays[min(len(delays) - 1, max(0, round(len(delays) * percent / 100) - 1))]


def update_minutes(organization_id: UUID) -> tuple[float, int]:
    """Return the minutes from offer to claim of recent updates, and of how many that is."""
    ended = DeviceUpdate.objects.filter(
        organization_id=organization_id,
        status=DeviceUpdate.Status.VERIFIED,
        offered_at__isnull=False,
    )
    rows = ended.order_by("-pk").annotate(took=F("claimed_at") - F("offered_at"))
    took = [one.total_seconds() / 60 for one in rows.values_list("took", flat=True)[:_LEARNT_FROM]]
    return (median(took), len(took)) if took else (USUAL_MINUTES, 0)

"""What the gates look at, gathered in one statement."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from common.db import fetch_one
from devices.models import Device
from releases.models import (
    OPEN,
    DeviceUpdate,
    Release,
    Rollout,
    SiteCalendar,
)
from releases.services.manifests import CHAIN, REACHES_SQL
from releases.services.openings import Opening
from releases.services.places import CROWD_SQL, Crowd, bounds_of

# How an update ends that says something against the release on this device.
BAD = [DeviceUpdate.Status.FAILED, DeviceUpdate.Status.ROLLED_BACK]


@dataclass(frozen=True)
class Try:
    """One update of the device, as far as gates speak of it."""

    id: int
    status: str
    failure_class: str
    to_version: str

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.status in OPEN

    @property
    def status_label(self) -> str:
        """Its status as people read it."""
        return str(DeviceUpdate.Status(self.status).label)


@dataclass(frozen=True)
class Stage:
    """One segment's turn, as far as gates speak of it."""

    segment: str
    percentage: int
    opened_at: datetime | None
    soaking_since: datetime | None
    soak_minutes: int


@dataclass(frozen=True)
class Place:
    """The device's place in the rollout, and its latest update by it."""

    segment: str
    bucket: int
    left_out: str
    update: Try | None


@dataclass(frozen=True)
class Facts:
    """A device, a release, perhaps a rollout, and everything that decides between them."""

    device: Device
    release: Release
    rollout: Rollout | None
    now: datetime
    running: str = ""
    is_away: bool = False
    quarantined_until: datetime | None = None
    artifact_role: str | None = None
    reach: Collection[str] = field(default_factory=frozenset)
    stages: list[Stage] = field(default_factory=list)
    target: Place | None = None
    # Its open update, whatever for, and how it fared with this release before.
    open_update: Try | None = None
    bad_update: Try | None = None
    site: Opening = field(default_factory=Opening)
    crowd: Crowd = field(default_factory=Crowd)

    @property
    def segment(self) -> str:
        """The segment that counts: the frozen one, where it is frozen."""
        return self.target.segment if self.target else self.device.segment

    @property
    def stage(self) -> Stage | None:
        """The stage the device belongs to, if the plan has one."""
        return next((one for one in self.stages if one.segment == self.segment), None)

    @property
    def is_under_way(self) -> bool:
        """Whether the rollout has given the device its update already, and it goes on."""
        given = self.target.update if self.target else None
        return given is not None and given == self.open_update


# Every join finds at most one row by a unique key.
_FACTS = f"""
SELECT coalesce(s.version, ''), coalesce(s.health, '') = 'offline',
       r.quarantined_until, t.segment, t.bucket, t.left_out,
       g.id, g.status, g.failure_class, g.to_version,
       o.id, o.status, o.failure_class, o.to_version,
       b.id, b.status, b.failure_class, b.to_version,
       a.role, c.timezone, c.windows, c.blackouts,
       (SELECT array_agg(reached.trust) FROM ({REACHES_SQL}) reached),
       stages.segments, stages.percentages, stages.opened, stages.soaking, stages.minutes,
       crowd.*
  FROM devices_device d
 CROSS JOIN (SELECT array_agg(segment ORDER BY position) AS segments,
                    array_agg(percentage ORDER BY position) AS percentages,
                    array_agg(opened_at ORDER BY position) AS opened,
                    array_agg(soaking_since ORDER BY position) AS soaking,
                    array_agg(soak_minutes ORDER BY position) AS minutes
               FROM releases_rolloutstage WHERE rollout_id = %(rollout)s) stages
 CROSS JOIN ({CROWD_SQL}) crowd
  LEFT JOIN devices_devicestate s ON s.device_id = d.id
  LEFT JOIN devices_devicerecovery r ON r.device_id = d.id
  LEFT JOIN releases_rollouttarget t ON t.rollout_id = %(rollout)s AND t.device_id = d.id
  LEFT JOIN releases_deviceupdate g ON g.id = t.update_id
  LEFT JOIN releases_deviceupdate o ON o.device_id = d.id
   AND o.status IN ('scheduled', 'offered', 'downloading', 'installing', 'awaiting_confirmation',
                    'claimed')
  LEFT JOIN LATERAL (SELECT * FROM releases_deviceupdate u
                      WHERE u.device_id = d.id AND u.release_id = %(release)s
                        AND u.status IN ('failed', 'rolled_back')
                      ORDER BY u.id DESC LIMIT 1) b ON true
  LEFT JOIN LATERAL (SELECT x.role FROM releases_artifact x
                      WHERE x.release_id = %(release)s AND x.status = 'stored'
                        AND x.role IN (d.role, '')
                      ORDER BY x.role DESC LIMIT 1) a ON true
  LEFT JOIN releases_sitecalendar c ON %(calendars)s AND d.site <> ''
   AND c.organization_id = d.organization_id AND c.site = d.site
 WHERE d.id = %(device)s
"""  # noqa: S608 - of constants


def facts_of(
    *,
    device: Device,
    release: Release,
    rollout: Rollout | None,
    now: datetime,
    with_crowd: bool = True,
) -> Facts:
    """Gather the facts of one device; those about others only `with_crowd`."""
    asked = {
        "device": device.pk,
        "release": release.pk,
        "releases": [release.pk],
        "chain": CHAIN,
        "rollout": rollout.pk if rollout else None,
        "calendars": rollout is None or rollout.use_calendars,
        "is_bounded": False,
        "since": None,
        **(bounds_of(rollout, now) if rollout and with_crowd else {}),
    }
    row = fetch_one(_FACTS, asked)
    running, is_away, until, segment, bucket, left_out = row[:6]
    given, opened, bad = (Try(*row[at : at + 4]) if row[at] else None for at in (6, 10, 14))
    artifact_role, *calendar = row[18:22]
    return Facts(
        device=device,
        release=release,
        rollout=rollout,
        now=now,
        running=running,
        is_away=is_away,
        quarantined_until=until if until and until > now else None,
        artifact_role=artifact_role,
        reach=frozenset(row[22] or ()),
        stages=_stages(row[23:28]),
        target=Place(segment, bucket, left_out, given) if segment is not None else None,
        open_update=opened,
        bad_update=bad,
        site=_opening(*calendar),
        crowd=Crowd(*row[28:]),
    )


def _stages(columns: Sequence[Any]) -> list[Stage]:
    return [Stage(*one) for one in zip(*(column or () for column in columns), strict=True)]


def _opening(timezone: str | None, windows: Any, blackouts: Any) -> Opening:
    if timezone is None:
        return Opening()
    calendar = SiteCalendar(
        timezone=timezone, windows=json.loads(windows), blackouts=json.loads(blackouts)
    )
    return Opening.of_calendar(calendar)

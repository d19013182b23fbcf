"""A fleet made by SQL, a signed release, and a plan."""

from datetime import timedelta
from typing import Any

from bench.heartbeat.fleet import ORGANIZATION

SITES = 200
DAYS = 7

_DEVICES = """
INSERT INTO devices_device (id, organization_id, device_id, name, lifecycle, hostname, platform,
    arch, role, branch, segment, serial, hardware_profile, owner, site, metadata, tags,
    maintenance_mode, update_enabled, safe_mode, version_lock, version_lock_owner,
    version_lock_reason, target_version, update_interval_s, status_override,
    status_override_reason, enrolled_by, created_at, updated_at)
SELECT gen_random_uuid(), %(organization)s, 'fleet-' || n, '', 'active', '', 'linux', 'arm64',
       'kiosk', 'main', 'general', '', '', '', '', '{}', '{}', n %% 50 = 0, true, n %% 100 = 0,
       CASE WHEN n %% 77 = 0 THEN '0.9.0' ELSE '' END, '', '', '', 300, '', '', 'bench', now(),
       now()
  FROM generate_series(1, %(devices)s) n
"""
_PLACES = """
UPDATE devices_device SET
       site = 'site-' || (('x' || substr(md5(device_id), 1, 6))::bit(24)::int %% %(sites)s),
       segment = CASE ('x' || substr(md5(device_id), 7, 2))::bit(8)::int %% 20
                 WHEN 0 THEN 'canary' WHEN 1 THEN 'early' WHEN 2 THEN 'early' ELSE 'general' END
"""
_STATES = """
INSERT INTO devices_devicestate (device_id, organization_id, health, boot_id, past_boots, version,
    agent_version, commit, metrics, status, errors, flaps)
SELECT id, organization_id, 'unknown', '', '[]', '', '', '', '{}', '{}', '[]', 0
  FROM devices_device ON CONFLICT DO NOTHING
"""
_RUNNING = """
UPDATE devices_devicestate SET version = '0.9.0', commit = 'abcdef0', last_seen = now(),
       health = CASE WHEN substr(device_id::text, 36, 1) IN ('0', '1') THEN 'offline'
                     ELSE 'healthy' END
"""
_HEARTBEATS = """
INSERT INTO devices_heartbeat (device_id, organization_id, at, received_at, boot_id, sequence,
                               health, version, commit)
SELECT d.id, d.organization_id, m, m, '', 0, 'healthy', '0.9.0', 'abcdef0'
  FROM devices_device d,
       LATERAL (SELECT now() - day * interval '1 day'
                       - (hashtext(d.device_id) & 65535) * interval '1 second' AS m
                  FROM generate_series(0, %(days)s - 1) day) moments
"""


def fill(devices: int) -> None:
    """Add so many devices to those that are there: places, states and a week of heartbeats."""
    from common import clock, db

    db.execute(_DEVICES, {"organization": ORGANIZATION, "devices": devices})
    db.execute(_PLACES, {"sites": SITES})
    db.execute(_STATES)
    db.execute(_RUNNING)
    first = clock.now().date() - timedelta(days=DAYS + 2)
    db.fetch_one("SELECT devices_heartbeat_partitions(%s, %s)", [first, DAYS + 4])
    db.execute(_HEARTBEATS, {"days": DAYS})
    db.execute("VACUUM ANALYZE")


def calendars(count: int) -> None:
    """Give some sites a calendar that is open now."""
    from common import clock
    from releases.models import SiteCalendar

    SiteCalendar.objects.bulk_create(
        SiteCalendar(
            organization_id=ORGANIZATION,
            site=f"site-{number}",
            timezone="Europe/Berlin",
            windows=[{"start": "00:00", "duration_minutes": 24 * 60, "days": []}],
            created_at=clock.now(),
        )
        for number in range(count)
    )


def signed_release(version: str, counter: int) -> Any:
    """Return a published release with a bundle, covered by signatures for every segment."""
    from releases.models import Release
    from releases.tests.factories import ArtifactFactory, ReleaseFactory, published, vouched

    release = ReleaseFactory(
        organization=_organization(), version=version, roles=["kiosk"], commit="a" * 40
    )
    ArtifactFactory(release=release, role="kiosk", size=50_000_000)
    made: Release = vouched(published(release, counter=counter))
    return made


def draft(version: str, counter: int) -> Any:
    """Return the draft of a rollout of another release to everybody."""
    from common import clock
    from releases.services import rollouts
    from releases.services.plans import Plan

    release = signed_release(version, counter)
    return rollouts.rollout_create(
        release=release, name="bench", plan=Plan(), principal=planner(), now=clock.now()
    )


def planner() -> Any:
    """Return who plans."""
    from accounts.principals import Principal
    from common.ids import uuid7

    return Principal(
        kind="user", id=uuid7(), label="bench", organization=_organization(), role="admin"
    )


def _organization() -> Any:
    from accounts.models import Organization

    return Organization.objects.get(pk=ORGANIZATION)

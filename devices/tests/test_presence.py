from datetime import timedelta

import pytest

from audit.models import AuditEntry
from common import clock, db
from devices import tasks
from devices.models import DeviceEvent, DeviceState, Heartbeat, ServicePulse
from devices.services import upkeep
from devices.tests.factories import DeviceFactory

SECOND = timedelta(seconds=1)


@pytest.fixture
def now(db):
    return clock.now()


@pytest.fixture
def listening(now):
    """The gateway has been there for a day."""
    ServicePulse.objects.create(name="gateway", since=now - timedelta(days=1), at=now)


def heard(organization, ago, now, interval=None, **state):
    return DeviceFactory(
        organization=organization,
        heartbeat_interval_s=interval,
        state__health="healthy",
        state__last_seen=now - ago,
        **{f"state__{name}": value for name, value in state.items()},
    )


def health(device):
    return DeviceState.objects.get(device=device).health


@pytest.mark.parametrize(
    ("interval", "silence", "expected"),
    [
        (None, 89, "healthy"),
        (None, 91, "offline"),
        (10, 14, "healthy"),
        (10, 16, "offline"),
        (600, 899, "healthy"),
        (600, 901, "offline"),
    ],
)
def test_silence_is_measured_in_the_devices_own_intervals(
    organization, listening, now, interval, silence, expected
):
    device = heard(organization, silence * SECOND, now, interval)

    upkeep.devices_mark_offline(now=now)

    assert health(device) == expected


def test_devices_with_other_intervals_are_judged_beside_each_other(
    organization, other_organization, listening, now
):
    quick = heard(organization, 16 * SECOND, now, 10)
    usual = heard(organization, 16 * SECOND, now)
    slow = heard(organization, 200 * SECOND, now, 600)
    elsewhere = heard(other_organization, 91 * SECOND, now)

    upkeep.devices_mark_offline(now=now)

    healths = [health(device) for device in (quick, usual, slow, elsewhere)]
    assert healths == ["offline", "healthy", "healthy", "offline"]


def test_going_offline_is_told_once(organization, listening, now):
    device = heard(organization, 300 * SECOND, now)

    assert upkeep.devices_mark_offline(now=now) == 1
    assert upkeep.devices_mark_offline(now=now) == 0

    assert DeviceEvent.objects.get(device=device).message.startswith("Offline: last heard")
    entry = AuditEntry.objects.get(action="device.offline")
    assert (entry.target, entry.actor_type) == (device.device_id, "system")


def test_a_mass_outage_writes_one_entry_for_the_organisation(organization, listening, now):
    for _ in range(60):
        heard(organization, 300 * SECOND, now)

    assert upkeep.devices_mark_offline(now=now) == 60

    entry = AuditEntry.objects.get(action="device.offline")
    assert (entry.after["count"], len(entry.after["devices"])) == (60, 50)


def test_nobody_is_blamed_for_an_outage_of_the_portal(organization, now):
    device = heard(organization, timedelta(hours=5), now)

    upkeep.devices_mark_offline(now=now)
    assert health(device) == "healthy"

    pulse = ServicePulse.objects.create(name="gateway", since=now - 60 * SECOND, at=now)
    upkeep.devices_mark_offline(now=now)
    assert health(device) == "healthy"

    pulse.since = now - 100 * SECOND
    pulse.save()
    upkeep.devices_mark_offline(now=now)
    assert health(device) == "offline"


def test_a_device_that_comes_and_goes_gets_more_patience(organization, listening, now):
    steady = heard(organization, 120 * SECOND, now)
    flapping = heard(organization, 120 * SECOND, now, flaps=3, flaps_since=now - 600 * SECOND)
    calmed = heard(organization, 120 * SECOND, now, flaps=9, flaps_since=now - timedelta(hours=2))

    upkeep.devices_mark_offline(now=now)

    assert [health(one) for one in (steady, flapping, calmed)] == ["offline", "healthy", "offline"]
    assert DeviceState.objects.get(device=calmed).flaps == 1


def test_pending_retired_and_overridden_devices_are_left_alone(organization, listening, now):
    pending = heard(organization, 300 * SECOND, now)
    pending.lifecycle = "pending"
    pending.save()
    fixed = heard(organization, 300 * SECOND, now)
    fixed.status_override = "healthy"
    fixed.save()

    upkeep.devices_mark_offline(now=now)

    assert (health(pending), health(fixed)) == ("healthy", "healthy")


def test_a_pulse_starts_anew_after_a_gap(now):
    upkeep.pulse(name="gateway")
    first = ServicePulse.objects.get()
    upkeep.pulse(name="gateway")
    assert ServicePulse.objects.get().since == first.since

    ServicePulse.objects.update(at=now - timedelta(minutes=5))
    upkeep.pulse(name="gateway")
    assert ServicePulse.objects.get().since > first.since


def test_the_workers_task_is_its_sign_of_life(db):
    tasks.worker_pulse()

    assert upkeep.pulse_age(name="worker", now=clock.now()) < 5
    assert upkeep.pulse_age(name="beat", now=clock.now()) is None


def partitions():
    rows = db.fetch_all(
        "SELECT inhrelid::regclass::text FROM pg_inherits"
        " WHERE inhparent = 'devices_heartbeat'::regclass ORDER BY 1"
    )
    return [name for (name,) in rows]


def test_partitions_are_made_ahead_and_dropped_behind(organization, now):
    later = now + timedelta(days=60)

    made, dropped = upkeep.partitions_keep(now=later)

    assert made == upkeep.PARTITIONS_AHEAD + 2
    assert dropped >= 10
    assert f"devices_heartbeat_{later:%Y%m%d}" in partitions()
    assert upkeep.partitions_keep(now=later) == (0, 0)


def test_an_organisation_that_keeps_less_loses_its_own_rows_only(
    organization, other_organization, now
):
    organization.heartbeat_retention_days = 1
    organization.save()
    for owner in (organization, other_organization):
        device = DeviceFactory(organization=owner)
        Heartbeat.objects.create(
            device=device,
            organization=owner,
            at=now - timedelta(days=1, minutes=5),
            received_at=now,
            health="healthy",
        )

    upkeep.partitions_keep(now=now)

    assert list(Heartbeat.objects.values_list("organization_id", flat=True)) == [
        other_organization.pk
    ]

"""Claimed is the device's word; heartbeats decide."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from audit.models import AuditEntry
from common import clock
from devices.models import Device, DeviceEvent, DeviceRecovery, DeviceState
from releases.models import DeviceUpdate, RolloutEvent
from releases.services.verification import updates_time_out, updates_verify
from releases.tests.updating import (
    device_of,
    heard,
    release_of,
    rollout_of,
    said,
    seconds,
    updating,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def now() -> datetime:
    return clock.now()


@pytest.fixture
def claimed(organization: Any, now: datetime) -> DeviceUpdate:
    """An update claimed a moment ago by a device with a heartbeat every 30 s."""
    device = device_of(organization)
    return updating(
        device,
        rollout_of(release_of(organization, "2.0.0"), verify_minutes=1),
        status="claimed",
        claimed_at=now,
        deadline_at=now + timedelta(hours=1),
    )


def swept(now: datetime) -> None:
    updates_verify(now=now)
    updates_time_out(now=now)


def end_of(update: DeviceUpdate) -> tuple[str, str]:
    update.refresh_from_db()
    return update.status, update.failure_class


def test_heartbeats_with_the_version_and_good_health_prove_a_claim(
    claimed: DeviceUpdate, now: datetime
):
    DeviceRecovery.objects.create(
        device=claimed.device, organization_id=claimed.organization_id, failures=2
    )
    for after in (10, 40):
        heard(claimed.device, at=now + seconds(after), version="2.0.0")
        swept(now + seconds(after + 1))
        assert end_of(claimed) == ("claimed", "")
    heard(claimed.device, at=now + seconds(70), version="2.0.0")
    swept(now + seconds(71))

    assert end_of(claimed) == ("verified", "")
    assert claimed.healthy_since == now + seconds(10)
    assert DeviceEvent.objects.filter(device=claimed.device, kind="update_verified").count() == 1
    assert DeviceRecovery.objects.get(device=claimed.device).failures == 0
    assert AuditEntry.objects.filter(action="update.verified").count() == 1
    assert RolloutEvent.objects.get(rollout=claimed.rollout).details == {"verified": 1}


def test_a_redeploy_that_is_proved_lets_the_device_out_of_safe_mode(
    claimed: DeviceUpdate, now: datetime
):
    Device.objects.filter(pk=claimed.device_id).update(safe_mode=True)
    DeviceRecovery.objects.create(
        device=claimed.device,
        organization_id=claimed.organization_id,
        safe_mode_since=claimed.scheduled_at,
        source="operator",
    )
    DeviceUpdate.objects.filter(pk=claimed.pk).update(kind="redeploy")
    for after in (10, 40, 70):
        heard(claimed.device, at=now + seconds(after), version="2.0.0")
        updates_verify(now=now + seconds(after))

    assert end_of(claimed)[0] == "verified"
    assert Device.objects.get(pk=claimed.device_id).safe_mode is False


def test_silence_proves_nothing(claimed: DeviceUpdate, now: datetime):
    heard(claimed.device, at=now + seconds(10), version="2.0.0")
    swept(now + seconds(11))
    swept(now + timedelta(minutes=30))

    assert end_of(claimed) == ("claimed", "")


def test_a_heartbeat_from_before_the_claim_proves_nothing(claimed: DeviceUpdate, now: datetime):
    heard(claimed.device, at=now - seconds(5), version="2.0.0")
    swept(now + timedelta(minutes=2))

    assert end_of(claimed) == ("claimed", "")
    assert claimed.healthy_since is None


def test_bad_health_in_between_begins_the_time_anew(claimed: DeviceUpdate, now: datetime):
    moments = [(10, "healthy"), (40, "degraded"), (50, "healthy"), (75, "healthy")]
    for after, health in moments:
        heard(claimed.device, at=now + seconds(after), version="2.0.0", health=health)
        # The sweep does not see each of them.
        if health == "healthy":
            swept(now + seconds(after + 1))
    assert end_of(claimed) == ("claimed", "")
    assert claimed.healthy_since == now + seconds(50)

    heard(claimed.device, at=now + seconds(111), version="2.0.0")
    swept(now + seconds(112))
    assert end_of(claimed) == ("verified", "")


def test_a_later_heartbeat_with_another_version_is_a_false_success(
    claimed: DeviceUpdate, now: datetime
):
    heard(claimed.device, at=now + seconds(20), version="0.9.0")
    swept(now + seconds(21))
    assert end_of(claimed) == ("claimed", "")

    heard(claimed.device, at=now + seconds(31), version="0.9.0")
    swept(now + seconds(32))

    assert end_of(claimed) == ("failed", "false_success")
    assert claimed.error == "It claimed 2.0.0, and its heartbeats show 0.9.0."
    assert DeviceEvent.objects.filter(device=claimed.device, kind="false_success").count() == 1
    assert DeviceRecovery.objects.get(device=claimed.device).failures == 1


def test_an_old_heartbeat_that_arrives_late_accuses_nobody(claimed: DeviceUpdate, now: datetime):
    heard(claimed.device, at=now - seconds(60), version="0.9.0")
    DeviceState.objects.filter(device=claimed.device).update(last_seen=now + seconds(50))
    swept(now + seconds(51))

    assert end_of(claimed) == ("claimed", "")


def test_a_device_that_goes_on_without_naming_a_version_is_not_accused(
    claimed: DeviceUpdate, now: datetime
):
    heard(claimed.device, at=now + seconds(40), version="")
    DeviceState.objects.filter(device=claimed.device).update(version="0.9.0")
    swept(now + seconds(41))

    assert end_of(claimed) == ("claimed", "")


@pytest.mark.parametrize(
    ("version", "health", "failure_class", "words"),
    [
        ("2.0.0", "degraded", "health", "It runs 2.0.0 and was degraded"),
        ("", "healthy", "timeout", "No heartbeat said which version runs."),
        ("2.0.0", "offline", "timeout", "Offline: last heard of 20"),
    ],
)
def test_a_claim_without_proof_in_time_has_failed_and_says_why(
    claimed: DeviceUpdate,
    now: datetime,
    version: str,
    health: str,
    failure_class: str,
    words: str,
):
    heard(claimed.device, at=now + seconds(40), version=version, health=health)
    swept(now + timedelta(hours=1, seconds=1))

    assert end_of(claimed) == ("failed", failure_class)
    assert claimed.error.startswith(words)


@pytest.mark.parametrize("status", ["offered", "downloading", "installing"])
def test_a_device_that_does_not_finish_in_time_has_failed(
    device: Device, device_api: Any, now: datetime, status: str
):
    update = updating(
        device,
        rollout_of(release_of(device.organization, "2.0.0")),
        status=status,
        deadline_at=now - seconds(1),
    )
    swept(now)

    assert end_of(update) == ("failed", "timeout")
    assert update.error == f"It was {status} and did not end in time."
    late = said(device_api, update, "claimed")
    assert (late.status_code, late.json()["update_status"]) == (409, "failed")


def test_a_device_that_is_away_is_not_blamed_for_it(claimed: DeviceUpdate, now: datetime):
    DeviceState.objects.filter(device=claimed.device).update(health="offline")
    swept(now + timedelta(hours=2))

    assert end_of(claimed) == ("failed", "timeout")
    assert claimed.error == "Offline: last heard of never, nothing came in time."
    assert not DeviceRecovery.objects.filter(device=claimed.device).exists()


@pytest.mark.parametrize(
    ("status", "step"), [("downloading", "downloading"), ("installing", "holding")]
)
def test_time_stands_still_while_the_rollout_is_paused(
    device: Device, now: datetime, status: str, step: str
):
    update = updating(
        device,
        rollout_of(release_of(device.organization, "2.0.0"), status="paused"),
        status=status,
        step=step,
        is_paused=True,
        deadline_at=now - seconds(1),
    )
    swept(now)

    assert end_of(update) == (status, "")


def test_a_release_is_told_by_its_commit_where_no_version_is_named(
    claimed: DeviceUpdate, now: datetime
):
    for after in (10, 80):
        heard(claimed.device, at=now + seconds(after), version="")
        DeviceState.objects.filter(device=claimed.device).update(commit=claimed.to_commit[:12])
        swept(now + seconds(after + 1))

    assert end_of(claimed) == ("verified", "")


def test_many_ends_are_one_entry_and_few_statements(
    claimed: DeviceUpdate, now: datetime, django_assert_max_num_queries: Any
):
    for _ in range(20):
        device = device_of(claimed.organization)
        updating(
            device,
            claimed.rollout,
            status="claimed",
            claimed_at=now,
            healthy_since=now + seconds(1),
            verify_minutes=1,
        )
        heard(device, at=now + seconds(1), version="2.0.0")
        heard(device, at=now + seconds(61), version="2.0.0")

    with django_assert_max_num_queries(20):
        assert updates_verify(now=now + seconds(62))["verified"] == 20
    entry = AuditEntry.objects.get(action="update.verified")
    assert entry.after["count"] == 20

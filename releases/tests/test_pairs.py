"""Updated devices beside others like them: who stands beside whom, and what counts."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from common import clock
from devices.models import Device, DeviceState, Heartbeat
from releases.models import DeviceUpdate, HealthPair, Rollout, RolloutTarget
from releases.services.guardrails import rollout_judge
from releases.services.pairs import pairs_judge, pairs_match
from releases.tests.factories import update_of
from releases.tests.updating import device_of, release_of, rollout_of, updating

pytestmark = pytest.mark.django_db
LATER = timedelta(minutes=16)


@pytest.fixture
def now() -> datetime:
    return clock.now()


@pytest.fixture
def rollout(organization: Any) -> Rollout:
    return rollout_of(release_of(organization, "2.0.0"))


def updated(rollout: Rollout, now: datetime, **fields: Any) -> DeviceUpdate:
    device = device_of(rollout.organization, **{"state__health": "healthy", **fields})
    return updating(device, rollout, status="claimed", claimed_at=now)


def other(rollout: Rollout, **fields: Any) -> Device:
    return device_of(
        rollout.organization, **{"state__health": "healthy", "state__version": "1.0.0", **fields}
    )


def ill(device: Device, health: str = "degraded") -> None:
    DeviceState.objects.filter(device=device).update(health=health)


def booted(device: Device, at: datetime, boot: str) -> None:
    Heartbeat.objects.create(
        device=device,
        organization_id=device.organization_id,
        at=at,
        received_at=at,
        boot_id=boot,
        health="healthy",
    )


def test_a_device_of_the_same_role_site_and_health_stands_beside_it(
    rollout: Rollout, now: datetime
):
    update = updated(rollout, now, site="Kiel", role="kiosk")
    other(rollout, role="kiosk", site="Bonn")
    like = other(rollout, role="kiosk", site="Kiel")
    other(rollout, role="kiosk", site="Kiel", state__health="degraded")
    other(rollout, role="camera", site="Kiel")

    assert pairs_match(now=now) == 1

    pair = HealthPair.objects.get()
    assert (pair.update_id, pair.control_id) == (update.pk, like.pk)
    assert pair.due_at == now + timedelta(minutes=15)


def test_without_one_at_the_site_another_of_the_role_will_do(rollout: Rollout, now: datetime):
    updated(rollout, now, site="Kiel")
    like = other(rollout, site="Bonn")

    assert pairs_match(now=now) == 1
    assert HealthPair.objects.get().control_id == like.pk


def test_nobody_stands_beside_two(rollout: Rollout, now: datetime):
    for _ in range(3):
        updated(rollout, now)
    other(rollout)
    other(rollout)

    assert pairs_match(now=now) == 2
    assert pairs_match(now=now) == 0


def test_who_is_last_in_line_is_taken_first(rollout: Rollout, now: datetime):
    updated(rollout, now)
    first, last = other(rollout), other(rollout)
    for device, bucket in [(first, 10), (last, 9_000)]:
        RolloutTarget.objects.create(
            organization=rollout.organization,
            rollout=rollout,
            device=device,
            segment="general",
            bucket=bucket,
            added_at=now,
        )
    pairs_match(now=now)

    assert HealthPair.objects.get().control_id == last.pk


def test_who_is_updated_busy_away_or_foreign_stands_beside_nobody(
    rollout: Rollout, now: datetime, other_organization: Any
):
    updated(rollout, now)
    other(rollout, state__version="2.0.0")
    other(rollout, lifecycle="quarantined")
    other(rollout, safe_mode=True)
    update_of(other(rollout), rollout.release, status="installing")
    device_of(other_organization, state__health="healthy", state__version="1.0.0")

    assert pairs_match(now=now) == 0


@pytest.mark.parametrize("regression", [{"enabled": False}, {"observe_minutes": 0}])
def test_a_plan_without_the_comparison_pairs_nobody(
    rollout: Rollout, now: datetime, regression: dict[str, Any]
):
    Rollout.objects.filter(pk=rollout.pk).update(regression=regression)
    updated(rollout, now)
    other(rollout)

    assert pairs_match(now=now) == 0


def pair_of(rollout: Rollout, now: datetime) -> tuple[Device, Device]:
    update = updated(rollout, now)
    control = other(rollout)
    assert pairs_match(now=now) == 1
    return update.device, control


def counted(rollout: Rollout) -> tuple[int, int, int]:
    rollout.refresh_from_db()
    evidence = rollout.evidence
    return evidence["updated_worse"], evidence["control_worse"], evidence["ties"]


def test_pairs_that_differ_are_counted_each_way(rollout: Rollout, now: datetime):
    ill(pair_of(rollout, now)[0], "offline")
    ill(pair_of(rollout, now)[1], "failed")
    for device in pair_of(rollout, now):
        ill(device)
    pair_of(rollout, now)
    assert pairs_judge(now=now) == 0

    assert pairs_judge(now=now + LATER) == 4
    assert pairs_judge(now=now + LATER) == 0

    assert counted(rollout) == (1, 1, 2)


def test_more_restarts_than_before_are_bad(rollout: Rollout, now: datetime):
    device, control = pair_of(rollout, now)
    for one in (device, control):
        booted(one, now - timedelta(minutes=5), "a")
        booted(one, now + timedelta(minutes=1), "a")
    booted(device, now + timedelta(minutes=5), "b")

    pairs_judge(now=now + LATER)

    assert counted(rollout) == (1, 0, 0)


def test_an_update_that_was_undone_for_its_health_is_bad(rollout: Rollout, now: datetime):
    device, _ = pair_of(rollout, now)
    DeviceUpdate.objects.filter(device=device).update(
        status="failed", failure_class="health", finished_at=now
    )
    pairs_judge(now=now + LATER)

    assert counted(rollout) == (1, 0, 0)


def test_a_pair_whose_other_half_was_updated_meanwhile_says_nothing(
    rollout: Rollout, now: datetime
):
    device, control = pair_of(rollout, now)
    ill(device)
    update_of(control, rollout.release, status="offered", offered_at=now + timedelta(minutes=1))

    pairs_judge(now=now + LATER)

    assert counted(rollout) == (0, 0, 0)
    assert HealthPair.objects.get().updated_is_bad is None


def test_a_rollout_that_makes_devices_ill_is_stopped(rollout: Rollout, now: datetime):
    for _ in range(13):
        ill(pair_of(rollout, now)[0])
    assert rollout_judge(rollout=rollout, now=now) is None
    pairs_judge(now=now + LATER)
    rollout.refresh_from_db()

    verdict = rollout_judge(rollout=rollout, now=now)

    assert verdict is not None
    assert verdict.rule == {"failure": "regression", "alpha": 0.001, "observe_minutes": 15}
    assert verdict.reason.startswith("Updated devices became ill: in 13 of 13 pairs")

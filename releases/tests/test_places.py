"""How many a rollout updates at once: never more than it says, whoever is away."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.db import connection

from accounts.models import Organization
from accounts.tests.factories import OrganizationFactory
from common import clock
from devices.models import Device, DeviceState
from releases.models import IN_FLIGHT, DeviceUpdate, Rollout
from releases.services.advance import rollouts_advance
from releases.tests.factories import RolloutStageFactory, RolloutTargetFactory
from releases.tests.rollout_calls import fleet, ready_release, updates
from releases.tests.updating import api_as, rollout_of, said, updating

ASKERS = 12


def bounded(organization: Organization, concurrency: int) -> Rollout:
    """Return a running rollout with its canary stage open."""
    rollout = rollout_of(ready_release(organization), concurrency=concurrency, include_new=False)
    RolloutStageFactory(rollout=rollout, opened_at=clock.now())
    return rollout


def target(rollout: Rollout, *devices: Device) -> None:
    for at, device in enumerate(devices):
        RolloutTargetFactory(rollout=rollout, device=device, bucket=at)


def go_away(*devices: Device) -> None:
    DeviceState.objects.filter(device__in=devices).update(health="offline")


def ask(device: Device) -> int:
    status: int = api_as(device).get(f"/api/v1/devices/{device.device_id}/update").status_code
    return status


def ask_at_once(devices: list[Device]) -> list[int]:
    together = Barrier(len(devices))

    def one(device: Device) -> int:
        try:
            client = api_as(device)
            together.wait(30)
            answer = client.get(f"/api/v1/devices/{device.device_id}/update")
            return int(answer.status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(len(devices)) as pool:
        return list(pool.map(one, devices))


@pytest.mark.django_db(transaction=True)
def test_devices_that_ask_at_once_are_never_offered_more_than_the_rollout_allows():
    organization = OrganizationFactory()
    devices = fleet(organization, ASKERS, "canary")
    rollout = bounded(organization, 3)
    for device in devices:
        # Their places have lapsed: nothing but the offer itself holds them back.
        updating(device, rollout, scheduled_at=clock.now() - timedelta(hours=1))

    for most in (3, 5):
        Rollout.objects.filter(pk=rollout.pk).update(concurrency=most)
        told = ask_at_once(devices)

        in_flight = {one.device for one in updates(rollout=rollout, status__in=IN_FLIGHT)}
        assert len(in_flight) == most
        assert told.count(200) == most
        assert {device for device, status in zip(devices, told, strict=True) if status == 200} == (
            in_flight
        )


@pytest.mark.django_db
def test_who_has_an_offer_gets_it_again_when_all_places_are_held(organization: Organization):
    one, other = fleet(organization, 2, "canary")
    rollout = bounded(organization, 1)
    mine = updating(one, rollout)
    updating(other, rollout)

    assert [ask(one), ask(other), ask(one)] == [200, 204, 200]
    said(api_as(one), mine, "claimed")
    assert ask(other) == 200


@pytest.mark.django_db
def test_a_device_that_goes_away_before_it_asks_frees_its_place_at_once(
    organization: Organization,
):
    gone, there = fleet(organization, 2, "canary")
    rollout = bounded(organization, 1)
    target(rollout, gone, there)
    rollouts_advance(now=clock.now())
    assert [one.device for one in updates()] == [gone]

    go_away(gone)
    rollouts_advance(now=clock.now())

    assert [(one.device, one.keeps_place) for one in updates()] == [(gone, False), (there, True)]
    # It gets its update when it comes back, as soon as there is a place.
    DeviceState.objects.filter(device=gone).update(health="healthy")
    assert [ask(there), ask(gone)] == [200, 204]
    said(api_as(there), DeviceUpdate.objects.get(device=there), "claimed")
    assert ask(gone) == 200


@pytest.mark.django_db
def test_a_device_that_does_not_come_keeps_its_place_for_fifteen_minutes(
    organization: Organization,
):
    silent, next_one = fleet(organization, 2, "canary")
    rollout = bounded(organization, 1)
    target(rollout, silent, next_one)
    rollouts_advance(now=clock.now())

    rollouts_advance(now=clock.now() + timedelta(minutes=14))
    assert [one.device for one in updates()] == [silent]
    rollouts_advance(now=clock.now() + timedelta(minutes=15))
    assert [one.device for one in updates()] == [silent, next_one]


@pytest.mark.django_db
def test_no_more_devices_that_are_away_wait_than_there_are_places(organization: Organization):
    away = fleet(organization, 5, "canary")
    go_away(*away)
    rollout = bounded(organization, 2)
    target(rollout, *away)

    for _ in range(3):
        rollouts_advance(now=clock.now())
    assert [one.keeps_place for one in updates()] == [False, False]

    # None of them keeps one that is there from its update.
    DeviceState.objects.filter(device=away[4]).update(health="healthy")
    rollouts_advance(now=clock.now())
    assert [one.device for one in updates() if one.keeps_place] == [away[4]]

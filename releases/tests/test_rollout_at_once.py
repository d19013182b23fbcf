"""Sweeps at once: the rate stays exact, and nobody gets two updates."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection

from accounts.models import Organization
from accounts.tests.factories import OrganizationFactory
from common import clock
from devices.models import Device
from devices.tests.factories import DeviceFactory
from releases.models import DeviceUpdate, RolloutTarget
from releases.services.advance import rollouts_advance
from releases.tests.factories import RolloutFactory, RolloutStageFactory
from releases.tests.rollout_calls import ready_release


def going(organization: Organization, devices: list[Device], **fields: object) -> None:
    """Make a running rollout with its canary stage open."""
    rollout = RolloutFactory(
        release=ready_release(organization), status="running", started_at=clock.now(),
        include_new=False, **fields,
    )  # fmt: skip
    RolloutStageFactory(rollout=rollout, opened_at=clock.now())
    for device in devices:
        RolloutTarget.objects.create(
            organization=organization, rollout=rollout, device=device, segment="canary",
            bucket=0, added_at=clock.now(),
        )  # fmt: skip


def sweep_at_once(times: int) -> None:
    def sweep(_turn: int) -> None:
        try:
            rollouts_advance(now=clock.now())
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(sweep, range(times)))


@pytest.mark.django_db(transaction=True)
def test_sweeps_at_once_keep_the_rate_and_give_each_device_one_update():
    organization = OrganizationFactory()
    devices = [DeviceFactory(organization=organization, segment="canary") for _ in range(12)]
    going(organization, devices, rate_per_minute=5)
    going(organization, devices, concurrency=4)

    sweep_at_once(12)

    of_rate = DeviceUpdate.objects.filter(rollout__rate_per_minute=5)
    assert of_rate.count() == 5
    assert DeviceUpdate.objects.filter(rollout__concurrency=4).count() == 4
    DeviceUpdate.objects.update(scheduled_at=clock.now() - timedelta(seconds=61))
    rollouts_advance(now=clock.now())
    rollouts_advance(now=clock.now())
    assert of_rate.count() == 8
    assert DeviceUpdate.objects.values("device").distinct().count() == 12

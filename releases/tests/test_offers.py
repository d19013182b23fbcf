"""What a device is offered: once, again after a restart, and never what was taken back."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from common import clock
from devices.models import Device
from releases.models import DeviceUpdate, RolloutTarget
from releases.tests.updating import api_as, device_of, release_of, rollout_of, updating

pytestmark = pytest.mark.django_db


@pytest.fixture
def update(device: Device) -> DeviceUpdate:
    release = release_of(device.organization, "2.0.0", counter=7)
    return updating(device, rollout_of(release))


def ask(client: APIClient, device: Device) -> object:
    return client.get(f"/api/v1/devices/{device.device_id}/update")


def test_a_scheduled_update_is_offered_with_all_a_device_needs(
    device: Device, device_api: APIClient, update: DeviceUpdate
):
    answer = ask(device_api, device)

    assert answer.status_code == 200
    body = answer.json()
    assert body["bundle"].pop("url").startswith("http")
    assert body == {
        "update_id": update.pk,
        "kind": "rollout",
        "release_id": str(update.release_id),
        "version": "2.0.0",
        "commit": update.to_commit,
        "counter": 7,
        "role": "any",
        "segment": "general",
        "target_path": "general/any/2.0.0/manifest.json",
        "bundle": {"size": 10, "sha256": update.artifact.sha256, "expires_in_s": 300},
        "from_version": "0.9.0",
        "timeout_s": 7200,
        "is_paused": False,
        "chaos": {},
    }
    update.refresh_from_db()
    assert (update.status, update.offered_at is not None) == ("offered", True)


@pytest.mark.parametrize("status", ["offered", "downloading", "installing"])
def test_a_device_that_restarts_gets_the_same_offer_and_no_more_time(
    device: Device, device_api: APIClient, update: DeviceUpdate, status: str
):
    ask(device_api, device)
    DeviceUpdate.objects.filter(pk=update.pk).update(status=status)
    before = DeviceUpdate.objects.get(pk=update.pk)

    assert ask(device_api, device).json()["update_id"] == update.pk
    after = DeviceUpdate.objects.get(pk=update.pk)
    assert (after.status, after.deadline_at) == (status, before.deadline_at)


@pytest.mark.parametrize("status", ["claimed", "cancelled", "failed"])
def test_what_is_claimed_or_over_is_not_offered(
    device: Device, device_api: APIClient, update: DeviceUpdate, status: str
):
    now = clock.now()
    ended = {} if status == "claimed" else {"finished_at": now}
    DeviceUpdate.objects.filter(pk=update.pk).update(status=status, claimed_at=now, **ended)

    answer = ask(device_api, device)

    assert (answer.status_code, answer.content) == (204, b"")


def test_a_paused_rollout_takes_back_what_was_not_begun(
    device: Device, device_api: APIClient, update: DeviceUpdate
):
    ask(device_api, device)
    DeviceUpdate.objects.filter(pk=update.pk).update(is_paused=True)

    assert ask(device_api, device).status_code == 204
    update.refresh_from_db()
    assert (update.status, update.deadline_at) == ("scheduled", None)


def test_an_update_without_its_bundle_is_taken_back(
    device: Device, device_api: APIClient, update: DeviceUpdate
):
    DeviceUpdate.objects.filter(pk=update.pk).update(status="downloading")
    update.release.artifacts.update(status="removed", removed_at=clock.now())

    assert ask(device_api, device).status_code == 204
    update.refresh_from_db()
    assert update.status == "cancelled"
    assert not RolloutTarget.objects.filter(update=update).exists()
    assert Device.objects.get(pk=device.pk).target_version == "0.9.0"


def test_an_idle_device_costs_one_look_at_the_updates(device: Device, device_api: APIClient):
    ask(device_api, device)

    with CaptureQueriesContext(connection) as asked:
        assert ask(device_api, device).status_code == 204

    looks = [one for one in asked.captured_queries if "releases_" in one["sql"]]
    assert len(looks) == 1
    assert len(asked) <= 10


def test_a_canary_is_offered_the_manifest_that_vouches_for_canaries(device: Device):
    canary = device_of(device.organization, segment="canary")
    update = updating(canary, rollout_of(release_of(device.organization, "3.0.0")))

    body = ask(api_as(canary), canary).json()

    assert (body["update_id"], body["target_path"]) == (
        update.pk,
        "staged/any/3.0.0/manifest.json",
    )


def test_a_device_reaches_its_own_update_only(
    device: Device, update: DeviceUpdate, other_organization: object
):
    neighbour = device_of(device.organization)
    foreigner = device_of(other_organization, device_id=device.device_id)

    assert ask(api_as(neighbour), device).status_code == 404
    assert ask(api_as(foreigner), device).status_code == 204
    update.refresh_from_db()
    assert update.status == "scheduled"


def test_people_do_not_take_a_devices_update(
    device: Device, update: DeviceUpdate, admin_api: APIClient, stranger_api: APIClient
):
    assert ask(admin_api, device).status_code == 403
    assert ask(stranger_api, device).status_code == 403

"""Hooks for failures: there where switched on, and nowhere else."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings
from rest_framework.test import APIClient

from audit.models import AuditEntry
from common import clock
from devices.models import Device, DeviceState
from releases.models import ChaosOrder, DeviceUpdate
from releases.services.chaos import STEPS
from releases.tests.updating import device_of, release_of, rollout_of, updating

pytestmark = pytest.mark.django_db
PATHS = ["fail-update", "false-success", "offline"]


@pytest.fixture
def hooks() -> Iterator[None]:
    with override_settings(CHAOS_HOOKS=True, ROOT_URLCONF="releases.tests.chaos_urls"):
        yield


def asked(client: APIClient, name: str, device: Device, **more: Any) -> int:
    status: int = client.post(
        f"/api/v1/test/{name}", {"device_id": device.device_id, **more}
    ).status_code
    return status


@pytest.mark.parametrize("name", PATHS)
def test_without_the_switch_there_is_nothing(admin_api: APIClient, device: Device, name: str):
    assert asked(admin_api, name, device) == 404
    assert f"/test/{name}" not in admin_api.get("/schema").content.decode()


@pytest.mark.parametrize("name", PATHS)
@override_settings(ROOT_URLCONF="releases.tests.chaos_urls")
def test_a_path_alone_does_not_switch_them_on(admin_api: APIClient, device: Device, name: str):
    assert asked(admin_api, name, device) == 404
    assert not ChaosOrder.objects.exists()


@pytest.mark.parametrize("name", PATHS)
def test_only_admins_of_the_organisation_may(
    hooks: None, name: str, device: Device, operator_api: APIClient, stranger_api: APIClient
):
    assert asked(operator_api, name, device) == 403
    assert asked(stranger_api, name, device) == 404
    assert not AuditEntry.objects.filter(action__startswith="chaos.").exists()


def offered(client: APIClient, device: Device) -> Any:
    return client.get(f"/api/v1/devices/{device.device_id}/update").json()["chaos"]


def test_the_next_update_is_told_to_go_wrong_and_the_one_after_is_not(
    hooks: None, device: Device, device_api: APIClient, admin_api: APIClient
):
    assert asked(admin_api, "fail-update", device, at="checking", mode="fail") == 204
    update = updating(device, rollout_of(release_of(device.organization, "2.0.0")))

    for _ in range(2):
        assert offered(device_api, device) == {"mode": "fail", "fail_at": "checking"}
    DeviceUpdate.objects.filter(pk=update.pk).update(status="cancelled", finished_at=clock.now())
    updating(device, rollout_of(release_of(device.organization, "3.0.0", counter=2)))
    assert offered(device_api, device) == {}
    assert AuditEntry.objects.get(action="chaos.order").after["at"] == "checking"


def test_a_step_no_update_has_is_refused(hooks: None, device: Device, admin_api: APIClient):
    assert asked(admin_api, "fail-update", device, at="install") == 422
    assert asked(admin_api, "fail-update", device) == 204
    assert ChaosOrder.objects.get().at in STEPS


def test_what_was_ordered_has_no_effect_once_hooks_are_off(device: Device, device_api: APIClient):
    ChaosOrder.objects.create(
        device=device, organization=device.organization, mode="fail", created_at=clock.now()
    )
    updating(device, rollout_of(release_of(device.organization, "2.0.0")))

    assert offered(device_api, device) == {}


def test_a_false_success_and_an_absence_can_be_asked_for(
    hooks: None, device: Device, admin_api: APIClient
):
    other = device_of(device.organization)
    assert asked(admin_api, "false-success", device) == 204
    assert asked(admin_api, "offline", other) == 204

    assert ChaosOrder.objects.get().mode == "false_success"
    assert DeviceState.objects.get(device=other).health == "offline"

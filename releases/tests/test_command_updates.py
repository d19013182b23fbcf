"""The `update` command: what it takes to be queued, and the update it becomes."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import Organization
from commands.models import Command
from commands.tests.factories import deliver
from common import clock
from devices.models import Device, DeviceState
from releases.errors import UpdateRefused
from releases.models import DeviceUpdate, Release
from releases.services.command_updates import update_for_command
from releases.tests.factories import ArtifactFactory, ReleaseFactory, published, update_of, vouched

PATH = "/api/v1/devices/studio-1/commands"


@pytest.fixture
def release(organization: Organization) -> Release:
    draft = ReleaseFactory(organization=organization, version="2.0.0", roles=["kiosk"])
    ArtifactFactory(release=draft)
    return published(draft)


def order(api: APIClient, version: str = "2.0.0", **payload: Any) -> Any:
    return api.post(PATH, {"type": "update", "payload": {"version": version, **payload}})


def held(api: APIClient, **payload: Any) -> Command:
    """Queue the order and hand it out."""
    return deliver(Command.objects.get(pk=order(api, **payload).json()["id"]))


def asked(device: Device) -> DeviceUpdate | None:
    """Ask as the device does."""
    device.refresh_from_db()
    return update_for_command(device=device, now=clock.now())


@pytest.mark.parametrize("version", ["3.0.0", "7.0.0", "8.0.0"])
def test_only_published_versions_of_the_organisation_are_offered(
    operator_api: APIClient,
    device_api: APIClient,
    device: Device,
    other_organization: Organization,
    version: str,
):
    published(ReleaseFactory(organization=other_organization, version="7.0.0"))
    ReleaseFactory(organization=device.organization, version="3.0.0")
    deliver(Command.objects.get(pk=order(operator_api, version).json()["id"]))

    answer = device_api.get(f"/api/v1/devices/{device.device_id}/update")

    assert (answer.status_code, answer.json()["code"]) == (409, "update_refused")
    assert f"no published release “{version}”" in answer.json()["detail"]


def test_the_update_is_made_when_the_device_asks_for_it_and_once_per_attempt(
    operator_api: APIClient, device: Device, release: Release
):
    order(operator_api)
    assert asked(device) is None
    command = deliver(Command.objects.get())

    update = asked(device)

    assert update is not None
    assert (update.kind, update.status, update.release) == ("command", "scheduled", release)
    assert update.created_by == command.created_by
    assert asked(device) is None
    now = clock.now()
    DeviceUpdate.objects.update(status="failed", finished_at=now)
    assert asked(device) is None
    Command.objects.update(status="queued", lease_expires_at=None)
    deliver(Command.objects.get())
    assert asked(device) is not None


def test_the_device_that_holds_the_order_is_offered_the_update(
    operator_api: APIClient, device_api: APIClient, device: Device, release: Release
):
    path = "/api/v1/devices/studio-1/update?version=2.0.0"
    vouched(release)
    order(operator_api)
    assert device_api.get(path).status_code == 204
    deliver(Command.objects.get())

    answer = device_api.get(path)
    again = device_api.get(path)

    assert (answer.status_code, answer.json()["kind"]) == (200, "command")
    assert answer.json()["version"] == "2.0.0"
    assert again.json()["update_id"] == answer.json()["update_id"]


def test_an_open_update_goes_first(operator_api: APIClient, device: Device, release: Release):
    held(operator_api)
    update_of(device, release, status="offered")

    assert asked(device) is None


@pytest.mark.parametrize("fields", [{"update_enabled": False}, {}])
def test_force_goes_past_updates_switched_off_and_the_same_version(
    operator_api: APIClient, device: Device, release: Release, fields: dict[str, Any]
):
    Device.objects.update(**fields) if fields else DeviceState.objects.update(version="2.0.0")
    held(operator_api)
    with pytest.raises(UpdateRefused):
        asked(device)
    Command.objects.update(status="failed", finished_at=clock.now())

    held(operator_api, force=True)

    assert asked(device) is not None


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"safe_mode": True}, "safe mode"),
        ({"maintenance_mode": True}, "maintenance"),
        ({"lifecycle": "quarantined"}, "quarantined"),
        ({"version_lock": "1.0.0"}, "locked to 1.0.0"),
        ({"role": "wall"}, "for kiosk"),
    ],
)
def test_force_never_goes_past_safety(
    operator_api: APIClient, device: Device, release: Release, fields: dict[str, Any], says: str
):
    held(operator_api, force=True)
    Device.objects.update(**fields)

    with pytest.raises(UpdateRefused, match=says):
        asked(device)


def test_a_release_that_was_withdrawn_meanwhile_is_not_installed(
    operator_api: APIClient, device: Device, release: Release
):
    held(operator_api, force=True)
    Release.objects.update(state="withdrawn", withdrawn_at=clock.now())

    with pytest.raises(UpdateRefused):
        asked(device)


def test_a_stranger_orders_nothing(stranger_api: APIClient, device: Device, release: Release):
    assert order(stranger_api).status_code == 404

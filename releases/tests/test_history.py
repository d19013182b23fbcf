"""What people see of updates: the history of a device, one update, and one timeline of it all."""

from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from commands.tests.factories import CommandFactory
from common import clock
from devices.models import Device, DeviceEvent, DriftReport
from releases.models import DeviceUpdate
from releases.tests.factories import update_of
from releases.tests.updating import release_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def update(device: Device) -> DeviceUpdate:
    release = release_of(device.organization, "2.0.0")
    row = update_of(device, release, scheduled_at=clock.now())
    DeviceUpdate.objects.filter(pk=row.pk).update(status="offered")
    return row


def test_a_devices_updates_are_listed_newest_first_and_narrowed(
    device: Device, update: DeviceUpdate, viewer_api: APIClient
):
    old = update_of(device, update.release, status="failed", finished_at=clock.now())
    url = f"/api/v1/devices/{device.device_id}/updates"

    told = viewer_api.get(url).json()["results"]
    assert [one["update_id"] for one in told] == [old.pk, update.pk]
    told = viewer_api.get(url, {"status": "offered", "to_version": "2.0.0"}).json()["results"]
    assert [one["update_id"] for one in told] == [update.pk]
    assert viewer_api.get(url, {"failure_class": "space"}).json()["results"] == []


def test_an_update_is_shown_with_its_trail(update: DeviceUpdate, viewer_api: APIClient):
    told = viewer_api.get(f"/api/v1/updates/{update.pk}").json()

    assert [(step["from"], step["to"]) for step in told["trail"]] == [
        ("", "scheduled"),
        ("scheduled", "offered"),
    ]


@pytest.mark.parametrize("path", ["devices/{d}/updates", "updates/{u}", "telemetry/devices/{d}"])
def test_a_stranger_sees_nothing_of_it(
    device: Device, update: DeviceUpdate, stranger_api: APIClient, path: str
):
    url = "/api/v1/" + path.format(d=device.device_id, u=update.pk)
    assert stranger_api.get(url).status_code == 404


def everything(device: Device, update: DeviceUpdate) -> None:
    at = update.scheduled_at
    organization = device.organization
    CommandFactory(device=device, created_at=at)
    for number in range(3):
        DeviceEvent.objects.create(
            organization=organization, device=device, at=at, kind="x", message=f"event {number}"
        )
    DriftReport.objects.create(
        organization=organization,
        device=device,
        count=2,
        first_at=at - timedelta(hours=1),
        last_at=at,
    )


def test_a_timeline_holds_everything_once_however_small_its_pages(
    device: Device, update: DeviceUpdate, viewer_api: APIClient
):
    everything(device, update)
    url = f"/api/v1/telemetry/devices/{device.device_id}"
    whole = viewer_api.get(url).json()
    assert whole["next"] is None
    assert sorted(line["source"] for line in whole["results"]) == [
        *("command", "drift", "event", "event", "event", "update")
    ]
    moments = [line["at"] for line in whole["results"]]
    assert moments == sorted(moments, reverse=True)

    collected: list[Any] = []
    following: str | None = f"{url}?page_size=1"
    while following:
        page = viewer_api.get(following).json()
        collected += page["results"]
        following = page["next"]
    assert collected == whole["results"]


@pytest.mark.parametrize("cursor", ["x", "bm9wZQ==", "MjAyNi0wMS0wMSBldmVudCBub3Blbm9wZQ=="])
def test_a_made_up_cursor_is_not_found(device: Device, viewer_api: APIClient, cursor: str):
    url = f"/api/v1/telemetry/devices/{device.device_id}"
    assert viewer_api.get(url, {"cursor": cursor}).status_code == 404

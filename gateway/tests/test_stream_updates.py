"""What a device's stream tells of its update, at once."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from common import clock
from devices.models import Device
from gateway.tests.door import Door
from gateway.tests.listening import Listening
from releases.models import DeviceUpdate, Release
from releases.tests.factories import ReleaseFactory, update_of

Listen = Callable[[], Listening]


@pytest.fixture
def listen(door: Door, device: Device, token: str) -> Iterator[Listen]:
    """Open a stream of the device."""
    opened: list[Listening] = []

    def open_stream() -> Listening:
        opened.append(Listening.of_device(door, device.device_id, token))
        opened[-1].wait_for("hello")
        return opened[-1]

    yield open_stream
    for one in opened:
        one.hang_up()
        one.finish()


@pytest.fixture
def release(device: Device) -> Release:
    made: Release = ReleaseFactory(organization=device.organization, version="2.0.0")
    return made


def changed(update: DeviceUpdate, **values: Any) -> None:
    DeviceUpdate.objects.filter(pk=update.pk).update(**values)


def test_an_update_is_told_at_once_and_once(listen: Listen, device: Device, release: Release):
    stream = listen()
    began = time.monotonic()
    update = update_of(device, release)

    told = {"update_id": update.pk, "version": "2.0.0"}
    assert stream.wait_for("update_available") == told
    assert time.monotonic() - began < 1
    changed(update, is_paused=True)
    assert stream.wait_for("pause") == {"update_id": update.pk}
    changed(update, is_paused=False)
    assert stream.wait_for("resume") == {"update_id": update.pk}
    assert stream.wait_for("update_available", times=2) == told


def test_a_way_back_is_told_by_its_name(listen: Listen, device: Device, release: Release):
    stream = listen()
    update = update_of(device, release, kind="rollback")

    assert stream.wait_for("rollback") == {"update_id": update.pk, "version": "2.0.0"}
    assert stream.told("update_available") == []


def test_the_next_update_is_told_after_the_first_was_taken_back(
    listen: Listen, device: Device, release: Release
):
    stream = listen()
    first = update_of(device, release)
    stream.wait_for("update_available")
    changed(first, status="cancelled", finished_at=clock.now())
    second = update_of(device, release)

    told = stream.wait_for("update_available", times=2)
    assert told == {"update_id": second.pk, "version": "2.0.0"}


def test_a_new_stream_begins_with_the_update_that_is_open(
    listen: Listen, device: Device, release: Release
):
    update = update_of(device, release, status="installing")

    assert listen().wait_for("update_available")["update_id"] == update.pk


def test_a_claimed_update_and_one_of_another_device_are_not_told(
    listen: Listen, device: Device, release: Release
):
    update_of(device, release, status="claimed", claimed_at=clock.now())
    update_of_another = update_of_neighbour(device, release)
    stream = listen()
    changed(update_of_another, is_paused=True)

    assert [name for name, _ in stream.events] == ["hello"]


def update_of_neighbour(device: Device, release: Release) -> DeviceUpdate:
    neighbour = Device.objects.create(organization=device.organization, device_id="neighbour")
    return update_of(neighbour, release)

"""What callers are told when the database has no time for them."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from accounts.models import Organization
from accounts.policy import Role
from accounts.tests.factories import api_key, member
from devices.models import Device
from devices.tests.factories import DeviceFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def device(organization: Organization) -> Device:
    return DeviceFactory(organization=organization, owner="before")


@pytest.fixture
def held(device: Device) -> Iterator[None]:
    """Somebody else holds the row, and nobody here waits for long."""
    other: Any = connection.copy()
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '20ms'")
    other.set_autocommit(False)
    with other.cursor() as cursor:
        cursor.execute("SELECT FROM devices_device WHERE id = %s FOR UPDATE", [device.pk])
    yield
    other.rollback()
    other.close()
    connection.close()


@pytest.mark.usefixtures("held")
def test_a_program_is_told_to_come_back_and_nothing_is_changed(device: Device):
    _, secret = api_key(device.organization, Role.ADMIN)
    client = Client(raise_request_exception=False)

    answer = client.patch(
        f"/api/v1/devices/{device.device_id}",
        {"owner": "after"},
        content_type="application/json",
        headers={"X-API-Key": secret},
    )

    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Content-Type"] == "application/problem+json"
    device.refresh_from_db()
    assert device.owner == "before"


@pytest.mark.usefixtures("held")
def test_a_person_is_told_to_try_again(device: Device):
    client = Client(raise_request_exception=False)
    client.force_login(
        member(device.organization, Role.ADMIN).user, "accounts.backends.PortalBackend"
    )

    answer = client.post(f"/console/devices/{device.pk}/do/maintenance", {"reason": "a test"})

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "nothing was changed" in answer.content.decode()
    device.refresh_from_db()
    assert not device.maintenance_mode


@pytest.mark.parametrize("path", ["/", "/api/v1/devices"])
def test_a_database_that_is_away_is_told_without_asking_it(device: Device, path: str):
    client = Client(raise_request_exception=False)
    admin = member(device.organization, Role.ADMIN).user
    assert admin is not None
    client.force_login(admin, "accounts.backends.PortalBackend")

    def away(*_: Any) -> None:
        raise OperationalError("server closed the connection unexpectedly")

    with connection.execute_wrapper(away):
        answer = client.get(path)

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0

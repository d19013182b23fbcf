"""Version locks: who set one, why, until when, and that one which ran out is none."""

from datetime import timedelta

import pytest
from rest_framework.test import APIClient

from common import clock
from devices.models import Device
from devices.tests.factories import DeviceFactory

PATH = "/api/v1/devices/studio-1"
LOCK = {"version_lock": "1.0.0", "version_lock_reason": "the driver is missing"}


def test_a_lock_keeps_owner_reason_and_end(operator_api: APIClient, operator, device: Device):
    ends = (clock.now() + timedelta(days=1)).isoformat()

    body = operator_api.patch(PATH, {**LOCK, "version_lock_expires_at": ends}).json()

    assert body["version_lock"] == "1.0.0"
    assert body["version_lock_owner"] == operator.label
    assert body["version_lock_reason"] == "the driver is missing"
    assert body["version_lock_expires_at"]
    assert body["rollout_eligible"] is False


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"version_lock": "1.0.0"}, "version_lock_reason"),
        ({**LOCK, "version_lock_reason": "  "}, "version_lock_reason"),
        ({**LOCK, "version_lock_expires_at": "2020-01-01T00:00:00Z"}, "version_lock_expires_at"),
    ],
)
def test_a_lock_that_is_not_complete_is_refused(
    operator_api: APIClient, device: Device, changes: dict[str, str], field: str
):
    answer = operator_api.patch(PATH, changes)

    assert answer.status_code == 422
    assert field in answer.json()["errors"]
    device.refresh_from_db()
    assert device.version_lock == ""


def test_a_lifted_lock_leaves_nothing_behind(operator_api: APIClient, device: Device):
    operator_api.patch(PATH, {**LOCK, "version_lock_owner": "Ada"})

    body = operator_api.patch(PATH, {"version_lock": ""}).json()

    assert (body["version_lock_owner"], body["version_lock_reason"]) == ("", "")
    assert body["rollout_eligible"] is True


def test_one_part_of_a_lock_is_changed_alone(operator_api: APIClient, device: Device):
    operator_api.patch(PATH, {**LOCK, "version_lock_owner": "Ada"})

    body = operator_api.patch(PATH, {"version_lock_reason": "still missing"}).json()

    assert (body["version_lock"], body["version_lock_owner"]) == ("1.0.0", "Ada")


def test_a_lock_that_ran_out_counts_as_none_and_gives_a_new_one_nothing(
    operator_api: APIClient, device_api: APIClient, device: Device
):
    now = clock.now()
    Device.objects.update(**LOCK, version_lock_expires_at=now - timedelta(seconds=1))

    assert operator_api.get(PATH).json()["rollout_eligible"] is True
    assert device_api.get(f"{PATH}/config").json()["version_lock"] is None
    assert operator_api.patch(PATH, {"version_lock": "1.1.0"}).status_code == 422
    taken = operator_api.patch(PATH, {"version_lock": "1.1.0", "version_lock_reason": "new"})
    assert taken.json()["version_lock_expires_at"] is None


def test_devices_are_found_by_their_lock(
    operator_api: APIClient, stranger_api: APIClient, device: Device
):
    now = clock.now()
    for name, expires in [("lasting", None), ("stale", now), ("timed", now + timedelta(days=1))]:
        DeviceFactory(
            organization=device.organization,
            device_id=name,
            version_lock_expires_at=expires,
            **LOCK,
        )
    for query, expected in [
        ("locked=true", ["lasting", "timed"]),
        ("locked=false", ["stale", "studio-1"]),
        ("lock_stale=true", ["stale"]),
        ("lock_stale=true&locked=true", []),
    ]:
        rows = operator_api.get(f"/api/v1/devices?{query}").json()["results"]
        assert [row["device_id"] for row in rows] == expected, query
    assert stranger_api.get("/api/v1/devices?locked=true").json()["results"] == []

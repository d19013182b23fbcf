import pytest
from django.db import IntegrityError, transaction

from accounts.tests.clients import api_of
from accounts.tests.factories import member
from audit.models import AuditEntry
from common import db
from devices.models import Device
from devices.services.groups import group_grant
from devices.tests.factories import DeviceFactory, group_of

ABSENT = "/api/v1/devices/no-such-device"


def ids(answer):
    return [row["device_id"] for row in answer.data["results"]]


@pytest.fixture
def fleet(organization):
    DeviceFactory(organization=organization, device_id="a", role="camera", state__health="offline")
    DeviceFactory(organization=organization, device_id="b", tags=["stage"], segment="canary")
    DeviceFactory(organization=organization, device_id="c", state__version="1.2.0", name="Lobby")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["a", "b", "c"]),
        ("status=offline", ["a"]),
        ("status=offline&status=unknown", ["a", "b", "c"]),
        ("role=camera", ["a"]),
        ("tag=stage", ["b"]),
        ("segment=canary", ["b"]),
        ("version=1.2.0", ["c"]),
        ("search=lob", ["c"]),
        ("ordering=-device_id", ["c", "b", "a"]),
        ("page_size=1&page=2", ["b"]),
    ],
)
def test_the_list_is_filtered_and_ordered(operator_api, fleet, query, expected):
    assert ids(operator_api.get(f"/api/v1/devices?{query}")) == expected


def test_the_list_has_the_shape_clients_rely_on(operator_api, fleet):
    answer = operator_api.get("/api/v1/devices").data

    assert set(answer) == {"count", "next", "previous", "results"}
    wanted = {"device_id", "name", "status", "lifecycle", "last_seen", "version"}
    assert wanted <= set(answer["results"][0])


def test_the_list_costs_the_same_whatever_its_length(
    operator_api, organization, django_assert_max_num_queries
):
    for _ in range(60):
        DeviceFactory(organization=organization)

    with django_assert_max_num_queries(4):
        assert len(operator_api.get("/api/v1/devices?page_size=60").data["results"]) == 60


def test_a_change_is_audited_and_kept_to_the_fields_sent(operator_api, device):
    answer = operator_api.patch(
        f"/api/v1/devices/{device.device_id}",
        {
            "maintenance_mode": True,
            "tags": ["b", "a", "b"],
            "version_lock": "1.0.0",
            "version_lock_reason": "1.1.0 has no driver for it",
        },
    )

    assert answer.status_code == 200
    assert (answer.data["maintenance_mode"], answer.data["tags"]) == (True, ["a", "b"])
    assert answer.data["rollout_eligible"] is False
    entry = AuditEntry.objects.get(action="device.update")
    assert entry.before["maintenance_mode"] is False
    assert entry.after["version_lock_owner"]
    assert entry.actor_type == "user"


def test_columns_that_belong_to_processes_are_not_written(operator_api, device):
    operator_api.patch(
        f"/api/v1/devices/{device.device_id}",
        {"lifecycle": "retired", "device_id": "stolen", "safe_mode": True, "owner": "AV team"},
    )

    device.refresh_from_db()
    assert (device.lifecycle, device.device_id, device.safe_mode, device.owner) == (
        "active",
        "studio-1",
        False,
        "AV team",
    )


def test_a_viewer_reads_and_changes_nothing(viewer_api, device):
    url = f"/api/v1/devices/{device.device_id}"

    assert viewer_api.get(url).status_code == 200
    assert viewer_api.patch(url, {"name": "x"}).status_code == 403
    assert viewer_api.delete(url).status_code == 403


def test_a_stranger_cannot_tell_a_foreign_device_from_none(stranger_api, device):
    foreign = stranger_api.get(f"/api/v1/devices/{device.device_id}")
    absent = stranger_api.get(ABSENT)

    assert (foreign.status_code, foreign.content) == (404, absent.content)
    assert ids(stranger_api.get("/api/v1/devices")) == []


def test_a_limited_operator_sees_and_acts_on_granted_groups_only(organization, admin):
    mine = DeviceFactory(organization=organization, device_id="mine")
    DeviceFactory(organization=organization, device_id="theirs")
    group = group_of(organization, mine)
    limited = member(organization, "operator", limited_to_groups=True)
    api = api_of(limited)
    assert ids(api.get("/api/v1/devices")) == []

    group_grant(group=group, user=limited.user, actor=admin)

    assert ids(api.get("/api/v1/devices")) == ["mine"]
    assert api.patch("/api/v1/devices/mine", {"name": "x"}).status_code == 200
    assert api.patch("/api/v1/devices/theirs", {"name": "x"}).status_code == 404
    body = {"type": "reboot", "payload": {}}
    assert api.post("/api/v1/devices/theirs/commands", body).status_code == 404
    assert api.post("/api/v1/devices/mine/commands", body).status_code == 201


def test_groups_are_set_by_name_and_only_own_ones(operator_api, stranger, device, organization):
    group_of(organization, name="stage")
    group_of(stranger.organization, name="foreign")
    url = f"/api/v1/devices/{device.device_id}"

    assert operator_api.patch(url, {"groups": ["stage"]}).data["groups"] == ["stage"]
    assert operator_api.patch(url, {"groups": ["foreign"]}).status_code == 422
    assert operator_api.patch(url, {"groups": []}).data["groups"] == []


def test_a_status_override_shows_until_lifted(operator_api, device):
    url = f"/api/v1/devices/{device.device_id}/status"

    shown = operator_api.patch(url, {"status": "failed", "reason": "smells burnt"})
    lifted = operator_api.patch(url, {"status": None})

    assert (shown.data["status"], shown.data["status_override"]) == ("failed", "failed")
    assert lifted.data["status_override"] == ""


def test_retiring_twice_is_refused(admin_api, device):
    url = f"/api/v1/devices/{device.device_id}"

    assert admin_api.delete(url).status_code == 204
    again = admin_api.delete(url)
    assert (again.status_code, again.data["code"]) == (409, "lifecycle_forbids")
    assert admin_api.patch(url, {"name": "x"}).status_code == 409


def test_the_database_refuses_a_member_of_two_organisations(device, stranger):
    foreign_group = group_of(stranger.organization)

    db.execute("SET CONSTRAINTS ALL IMMEDIATE")
    with pytest.raises(IntegrityError), transaction.atomic():
        group_of(stranger.organization, device, name="trap")

    assert foreign_group.devices.count() == 0


def test_events_tell_the_history(operator_api, device):
    operator_api.patch(f"/api/v1/devices/{device.device_id}", {"name": "New"})

    events = operator_api.get(f"/api/v1/devices/{device.device_id}/events").data["results"]

    assert events[0]["event_type"] == "update"
    assert "name" in events[0]["message"]
    assert Device.objects.get(pk=device.pk).name == "New"

"""Drift: reported by devices, seen by people, repaired by order or by itself."""

from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts.models import Organization
from accounts.policy import Role
from accounts.tests.clients import api_of
from accounts.tests.factories import member
from audit.models import AuditEntry
from commands.models import Command
from commands.tests.factories import CommandFactory
from common import clock, limits
from devices.models import Device, DeviceEvent, DriftReport
from devices.services.groups import group_grant
from devices.tests.factories import DeviceFactory, group_of
from releases.models import DeviceUpdate
from releases.services.drift_repair import drifts_repair
from releases.tasks import drifts_repair as drifts_repair_task
from releases.tests.factories import ReleaseFactory, update_of

TELEMETRY = "/api/v1/telemetry/drift"
A = {"path": "/srv/app/a.conf", "kind": "changed", "expected": "aa", "actual": "bb"}
B = {"path": "/srv/app/b.sh", "kind": "mode", "expected": "0755", "actual": "0644"}


def tell(api: APIClient, *items: dict[str, Any], release: str = "2.0.0", **more: Any) -> Any:
    return api.post(TELEMETRY, {"release": release, "items": list(items), **more})


def drifted(device: Device, **fields: Any) -> DriftReport:
    now = clock.now()
    values = {"items": [A], "count": 1, "first_at": now, "last_at": now, **fields}
    report: DriftReport = DriftReport.objects.create(
        device=device, organization=device.organization, release="2.0.0", **values
    )
    return report


def repairs() -> list[str]:
    """Return which devices were told to repair, in that order."""
    commands = Command.objects.filter(kind="drift_repair").order_by("pk")
    return [command.device.device_id for command in commands.select_related("device")]


def note(device: Device) -> str:
    return DriftReport.objects.get(device=device, resolved_at__isnull=True).repair_note


@pytest.fixture
def mending(organization: Organization) -> Organization:
    """An organisation that wants drift repaired, two devices in an hour."""
    organization.drift_auto_repair = True
    organization.drift_repairs_per_hour = 2
    organization.save()
    return organization


# --- what devices tell ---


def test_a_report_is_replaced_by_the_next_and_resolved_by_nothing_left(
    device_api: APIClient, operator_api: APIClient, device: Device
):
    first = tell(device_api, A)
    same = tell(device_api, A)
    more = tell(device_api, A, B)
    clean = tell(device_api)
    fresh = tell(device_api, B)

    assert [one.status_code for one in (first, same, more, clean, fresh)] == [202] * 5
    assert first.json()["id"] == same.json()["id"] == more.json()["id"] != fresh.json()["id"]
    assert (more.json()["count"], clean.json()) == (
        2,
        {"id": None, "count": 0, "repair_command_id": None},
    )
    events = DeviceEvent.objects.filter(device=device, kind="drift")
    assert events.count() == 4
    shown = operator_api.get("/api/v1/devices/studio-1/drift").json()["results"]
    assert [bool(one["resolved_at"]) for one in shown] == [False, True]
    assert shown[0]["items"] == [B]


@pytest.mark.parametrize("kind", ["changed", "missing", "added", "mode", "unreadable"])
def test_every_kind_of_drift_is_taken_and_values_may_be_missing(
    device_api: APIClient, device: Device, kind: str
):
    assert tell(device_api, {"path": "/a", "kind": kind, "actual": None}).status_code == 202

    item = {"path": "/a", "kind": kind, "expected": "", "actual": ""}
    assert DriftReport.objects.get().items == [item]


def test_what_is_not_sent_is_counted(device_api: APIClient, device: Device):
    assert tell(device_api, A, count=900).json()["count"] == 900


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"items": [{"kind": "changed"}]},
        {"items": [{"path": "/a", "kind": "eaten"}]},
        {"items": [A] * (limits.DRIFT_ITEMS + 1)},
        {"items": [{"path": "x" * (limits.DRIFT_PATH_CHARS + 1)}]},
    ],
)
def test_a_report_that_does_not_fit_is_refused(
    device_api: APIClient, device: Device, body: dict[str, Any]
):
    assert device_api.post(TELEMETRY, body).status_code == 422
    assert not DriftReport.objects.exists()


def test_people_do_not_report_drift(operator_api: APIClient, anonymous_api: APIClient):
    assert tell(operator_api, A).status_code == 403
    assert tell(anonymous_api, A).status_code == 401


# --- what people see ---


def test_the_list_is_filtered(operator_api: APIClient, device: Device):
    other = DeviceFactory(organization=device.organization, device_id="hall", site="Oslo")
    drifted(device)
    drifted(other, resolved_at=clock.now())
    for query, expected in [
        ("", ["hall", "studio-1"]),
        ("open=true", ["studio-1"]),
        ("device=hall", ["hall"]),
        ("site=Oslo", ["hall"]),
        ("release=1", []),
        ("repaired=true", []),
    ]:
        rows = operator_api.get(f"/api/v1/drift?{query}").json()["results"]
        assert sorted(row["device_id"] for row in rows) == expected, query
        assert all("items" not in row for row in rows)


def test_a_stranger_and_a_limited_person_see_no_drift(
    stranger_api: APIClient, organization: Organization, admin: Any, device: Device
):
    report = drifted(device)
    limited = member(organization, Role.OPERATOR, limited_to_groups=True)
    for api in (stranger_api, api_of(limited)):
        assert api.get("/api/v1/drift").json()["results"] == []
        assert api.get(f"/api/v1/drift/{report.pk}").status_code == 404
        assert api.get("/api/v1/devices/studio-1/drift").status_code == 404
        assert api.post(f"/api/v1/drift/{report.pk}/repair", {}).status_code == 404

    group_grant(group=group_of(organization, device), user=limited.user, actor=admin)
    assert api_of(limited).get(f"/api/v1/drift/{report.pk}").json()["items"] == [A]


# --- repaired by order ---


def test_an_operator_has_files_put_back_and_not_twice_at_once(
    operator_api: APIClient, viewer_api: APIClient, device: Device
):
    report = drifted(device, items=[A, B], count=2)
    path = f"/api/v1/drift/{report.pk}/repair"

    unknown = operator_api.post(path, {"paths": ["/etc/passwd"]})
    taken = operator_api.post(path, {"paths": [A["path"]]})
    again = operator_api.post(path, {})

    assert viewer_api.post(path, {}).status_code == 403
    assert (unknown.status_code, taken.status_code, again.status_code) == (409, 201, 409)
    assert taken.json()["payload"] == {"paths": [A["path"]]}
    assert again.json()["command_id"] == taken.json()["id"]
    assert AuditEntry.objects.get(action="drift.repair").target_id == str(report.pk)
    shown = operator_api.get(f"/api/v1/drift/{report.pk}").json()
    assert shown["repair_command_id"] == taken.json()["id"]


def test_files_are_not_put_back_while_they_change_or_in_safe_mode(
    operator_api: APIClient, device: Device
):
    report = drifted(device)
    release = ReleaseFactory(organization=device.organization)
    update = update_of(device, release, status="installing")
    path = f"/api/v1/drift/{report.pk}/repair"

    busy = operator_api.post(path, {})
    type(update).objects.filter(pk=update.pk).update(status="failed", finished_at=clock.now())
    Device.objects.update(safe_mode=True)
    aside = operator_api.post(path, {})
    DriftReport.objects.update(resolved_at=clock.now())
    over = operator_api.post(path, {})

    assert [one.json()["code"] for one in (busy, aside, over)] == [
        "update_state",
        "recovery_refused",
        "recovery_refused",
    ]


def test_files_of_a_release_that_waits_for_its_proof_are_put_back(
    operator_api: APIClient, device: Device
):
    report = drifted(device)
    update_of(
        device,
        ReleaseFactory(organization=device.organization),
        status="claimed",
        claimed_at=clock.now(),
    )

    assert operator_api.post(f"/api/v1/drift/{report.pk}/repair", {}).status_code == 201
    assert DeviceUpdate.objects.get().status == "claimed"


# --- by itself ---


def test_drift_is_repaired_by_itself_only_where_that_is_wanted(
    organization: Organization, device: Device
):
    drifted(device)

    drifts_repair_task()
    assert repairs() == []
    Organization.objects.update(drift_auto_repair=True)
    drifts_repair_task()
    drifts_repair_task()

    assert repairs() == ["studio-1"]
    assert AuditEntry.objects.get(action="drift.repair").actor == "drift repair"


def test_a_budget_of_an_hour_is_kept_to_the_device(mending: Organization):
    fleet = [DeviceFactory(organization=mending, device_id=f"d-{n}") for n in range(5)]
    now = clock.now()
    for number, device in enumerate(fleet):
        drifted(device, first_at=now - timedelta(days=1, minutes=-number))

    drifts_repair(now=now)
    drifts_repair(now=now)

    assert repairs() == ["d-0", "d-1"]
    assert "2 devices were repaired" in note(fleet[2])
    Command.objects.update(created_at=now - timedelta(minutes=61))
    drifts_repair(now=now)
    assert repairs() == ["d-0", "d-1", "d-2", "d-3"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"maintenance_mode": True}, "maintenance"),
        ({"safe_mode": True}, "safe mode"),
        ({"lifecycle": "quarantined"}, "not active"),
    ],
)
def test_what_is_held_back_says_why_and_goes_on_when_that_is_over(
    mending: Organization, device: Device, fields: dict[str, Any], says: str
):
    drifted(device)
    before = {name: getattr(device, name) for name in fields}
    Device.objects.update(**fields)

    drifts_repair_task()
    assert (repairs(), says in note(device)) == ([], True)
    Device.objects.update(**before)
    drifts_repair_task()

    assert repairs() == ["studio-1"]


def test_an_update_goes_before_a_repair(mending: Organization, device: Device):
    drifted(device)
    update_of(device, ReleaseFactory(organization=mending), status="scheduled")

    drifts_repair_task()

    assert (repairs(), note(device)) == ([], "Waits: an update of the device is open.")


def test_drift_that_comes_back_is_left_to_a_person(
    mending: Organization, device: Device, device_api: APIClient
):
    tell(device_api, A)
    drifts_repair_task()
    Command.objects.update(status="delivered", attempt=1, lease_expires_at=clock.now())
    before = clock.now() - timedelta(seconds=1)
    Command.objects.update(status="succeeded", finished_at=before)
    tell(device_api, A)

    drifts_repair_task()

    assert (repairs(), note(device)) == (
        ["studio-1"],
        "Repaired once, and it differs again: look at it.",
    )


def test_a_repair_that_never_began_is_ordered_again(mending: Organization, device: Device):
    drifted(device)
    drifts_repair_task()
    Command.objects.update(status="expired", finished_at=clock.now())

    drifts_repair_task()

    assert repairs() == ["studio-1", "studio-1"]


def test_a_device_that_takes_no_command_does_not_stop_the_others(
    mending: Organization, device: Device
):
    full = DeviceFactory(organization=mending, device_id="full")
    drifted(full, first_at=clock.now() - timedelta(days=1))
    drifted(device)
    CommandFactory.create_batch(limits.COMMANDS_PER_DEVICE, device=full, kind="ping")

    assert drifts_repair(now=clock.now()) == {"repaired": 1, "refused": 1}
    assert repairs() == ["studio-1"]
    assert "Cancel some or wait" in note(full)

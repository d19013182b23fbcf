import csv
import io
from datetime import UTC, datetime

import openpyxl
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from guardian.shortcuts import assign_perm

from accounts.models import Organization
from accounts.policy import Role
from accounts.principals import Principal
from accounts.tests.factories import member
from audit.models import AuditEntry
from common.ids import uuid7
from console.tests.browsers import browser_of, text_of
from devices.models import GRANT, Device, DeviceEvent, DeviceState
from devices.services.groups import group_grant
from devices.tests.factories import DeviceFactory, group_of

LIST = "/admin/devices/device/"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FORM = {
    "name": "Studio",
    "role": "kiosk",
    "branch": "main",
    "segment": "general",
    "tags": "",
    "metadata": "{}",
    "update_enabled": "on",
    "update_interval_s": "300",
}


def act(browser, action: str, *devices: Device, **more: object):
    chosen = {"action": action, "_selected_action": [device.pk for device in devices]}
    return browser.post(f"{LIST}?lifecycle=all", {**chosen, **more}, follow=True)


@pytest.fixture
def foreign(other_organization: Organization) -> Device:
    return DeviceFactory(organization=other_organization, device_id="globex-1", role="secret-role")


@pytest.fixture
def limited(organization: Organization) -> Principal:
    return member(organization, Role.OPERATOR, limited_to_groups=True)


def test_the_list_holds_only_what_the_person_sees(
    viewer: Principal, device: Device, foreign: Device
):
    page = text_of(browser_of(viewer).get(LIST))

    assert "studio-1" in page
    assert "globex-1" not in page


def test_filters_offer_nothing_from_elsewhere(viewer: Principal, device: Device, foreign: Device):
    group_of(foreign.organization, foreign, name="foreign group")

    page = text_of(browser_of(viewer).get(LIST))

    assert "secret-role" not in page
    assert "foreign group" not in page


def test_a_foreign_group_and_an_absent_one_match_nothing(
    viewer: Principal, device: Device, foreign: Device
):
    group = group_of(foreign.organization, foreign, name="foreign group")
    browser = browser_of(viewer)

    pages = [text_of(browser.get(f"{LIST}?group={pk}")) for pk in (group.pk, uuid7())]

    assert all("studio-1" not in page and "globex-1" not in page for page in pages)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("health=offline", {"b"}),
        ("lifecycle=pending", {"c"}),
        ("lifecycle=all", {"a", "b", "c", "gone"}),
        ("", {"a", "b", "c"}),
        ("role=kiosk", {"a", "c"}),
        ("segment=canary", {"b"}),
        ("tag=hdmi", {"a"}),
        ("maintenance=yes", {"c"}),
        ("seen=never", {"a", "c"}),
        ("seen=over7d", {"b"}),
        ("q=10.0.0.7", {"a"}),
    ],
)
def test_filters_narrow_the_list(
    viewer: Principal, organization: Organization, query: str, found: set[str]
):
    DeviceFactory(
        organization=organization, device_id="dev-a", tags=["hdmi"], ip_address="10.0.0.7"
    )
    DeviceFactory(
        organization=organization,
        device_id="dev-b",
        role="player",
        segment="canary",
        state__health="offline",
        state__last_seen=NOON,
    )
    DeviceFactory(
        organization=organization, device_id="dev-c", lifecycle="pending", maintenance_mode=True
    )
    DeviceFactory(
        organization=organization, device_id="dev-gone", role="", lifecycle="retired",
        retired_at=NOON,
    )  # fmt: skip

    page = text_of(browser_of(viewer).get(f"{LIST}?{query}"))

    assert {name for name in ("a", "b", "c", "gone") if f"<b>dev-{name}</b>" in page} == found


def test_the_list_costs_the_same_whatever_its_length(admin: Principal, organization: Organization):
    browser = browser_of(admin)

    def cost() -> int:
        with CaptureQueriesContext(
            connection,
        ) as seen:
            assert browser.get(f"{LIST}?all=").status_code == 200
        return len(seen)

    DeviceFactory.create_batch(3, organization=organization)
    few = cost()
    DeviceFactory.create_batch(150, organization=organization)

    assert cost() == few
    assert few <= 14


def test_a_limited_operator_sees_and_acts_on_granted_groups_only(
    limited: Principal, admin: Principal, organization: Organization, device: Device
):
    granted = DeviceFactory(organization=organization, device_id="granted-1")
    group_grant(group=group_of(organization, granted), user=limited.user, actor=admin)
    DeviceEvent.objects.create(
        organization=organization, device=device, at=NOON, kind="health", message="hidden event"
    )
    browser = browser_of(limited)

    page = text_of(browser.get(LIST))
    act(browser, "maintenance_on", device, granted)

    assert "granted-1" in page
    assert "studio-1" not in page
    assert "hidden event" not in text_of(browser.get("/admin/devices/deviceevent/"))
    assert list(Device.objects.filter(maintenance_mode=True)) == [granted]
    assert browser.get(f"{LIST}{device.pk}/change/").status_code == 302
    assert browser.get("/admin/audit/auditentry/").status_code == 403


def test_the_autocomplete_finds_nothing_from_elsewhere(
    viewer: Principal, device: Device, foreign: Device
):
    answer = browser_of(viewer).get(
        "/admin/autocomplete/?app_label=commands&model_name=command&field_name=device&term="
    )

    assert [row["text"] for row in answer.json()["results"]] == ["studio-1"]


def test_saving_the_form_leaves_what_a_heartbeat_wrote_meanwhile(
    operator: Principal, device: Device
):
    browser = browser_of(operator)
    browser.get(f"{LIST}{device.pk}/change/")
    Device.objects.filter(pk=device.pk).update(hostname="reported-meanwhile", target_version="9")
    DeviceState.objects.filter(pk=device.pk).update(health="healthy", last_seen=NOON)

    answer = browser.post(f"{LIST}{device.pk}/change/", {**FORM, "tags": "b, a ,a"})

    device.refresh_from_db()
    entry = AuditEntry.objects.get(action="device.update")
    assert answer.url == f"/console/devices/{device.pk}"
    assert (device.name, device.tags) == ("Studio", ["a", "b"])
    assert (device.hostname, device.target_version) == ("reported-meanwhile", "9")
    assert (device.state.health, device.state.last_seen) == ("healthy", NOON)
    assert set(entry.after) == {"name", "tags"}


def test_columns_of_the_device_itself_cannot_be_posted(operator: Principal, device: Device):
    smuggled = {"lifecycle": "retired", "device_id": "other", "enrolled_by": "x", "hostname": "x"}

    browser_of(operator).post(f"{LIST}{device.pk}/change/", {**FORM, **smuggled})

    device.refresh_from_db()
    assert (device.lifecycle, device.device_id, device.hostname) == ("active", "studio-1", "")


def test_an_operator_cannot_move_a_device_between_groups(operator: Principal, device: Device):
    group = group_of(device.organization, name="Stage")

    browser_of(operator).post(f"{LIST}{device.pk}/change/", {**FORM, "member_of": [group.pk]})

    assert not device.groups.exists()


def test_an_admin_moves_a_device_between_groups_of_the_organisation_only(
    admin: Principal, device: Device, foreign: Device
):
    mine = group_of(device.organization, name="Stage")
    theirs = group_of(foreign.organization, name="Theirs")
    browser = browser_of(admin)
    path = f"{LIST}{device.pk}/change/"

    refused = browser.post(path, {**FORM, "member_of": [mine.pk, theirs.pk]})
    browser.post(path, {**FORM, "member_of": [mine.pk]})

    assert refused.status_code == 200
    assert [group.name for group in device.groups.all()] == ["Stage"]


@pytest.mark.parametrize(
    "metadata",
    [
        '{"a": "\\u0000"}',
        '{"a": NaN}',
        '{"a": 1e999}',
        '["list"]',
        "{",
        pytest.param("[" * 50_000, id="deep"),
        pytest.param('{"a":' * 40 + "1" + "}" * 40, id="nested"),
    ],
)
def test_metadata_no_column_can_hold_is_refused(operator: Principal, device: Device, metadata: str):
    answer = browser_of(operator).post(f"{LIST}{device.pk}/change/", {**FORM, "metadata": metadata})

    assert answer.status_code == 200
    assert "Please correct the error" in text_of(answer)


def test_a_foreign_device_and_an_absent_one_are_the_same(viewer: Principal, foreign: Device):
    browser = browser_of(viewer)

    for verb in ("change", "history", "delete"):
        seen = [browser.get(f"{LIST}{pk}/{verb}/") for pk in (foreign.pk, uuid7())]
        assert seen[0].status_code == seen[1].status_code
        assert seen[0].get("Location") == seen[1].get("Location")


def test_actions_reach_no_foreign_device(admin: Principal, foreign: Device, device: Device):
    browser = browser_of(admin)

    for action in ("maintenance_on", "retire_selected"):
        act(browser, action, device, foreign, confirmed="1", reason="old")

    foreign.refresh_from_db()
    device.refresh_from_db()
    assert (foreign.maintenance_mode, foreign.lifecycle) == (False, "active")
    assert (device.maintenance_mode, device.lifecycle) == (True, "retired")


@pytest.mark.parametrize(
    ("role", "offered"),
    [
        (Role.VIEWER, set()),
        (Role.OPERATOR, {"queue_for_selected", "tag_selected", "accept_selected"}),
        (Role.ADMIN, {"queue_for_selected", "tag_selected", "accept_selected", "retire_selected"}),
    ],
)
def test_actions_are_offered_where_the_role_holds_the_right(
    organization: Organization, device: Device, role: str, offered: set[str]
):
    page = browser_of(member(organization, role)).get(LIST).content.decode()

    known = {"queue_for_selected", "tag_selected", "accept_selected", "retire_selected"}
    assert {name for name in known if f'value="{name}"' in page} == offered


@pytest.mark.parametrize("action", ["maintenance_on", "accept_selected", "retire_selected"])
def test_a_viewer_who_posts_an_action_changes_nothing(
    viewer: Principal, device: Device, action: str
):
    before = Device.objects.values().get(pk=device.pk)

    act(browser_of(viewer), action, device, confirmed="1")

    assert Device.objects.values().get(pk=device.pk) == before


def test_each_device_of_an_action_succeeds_or_is_refused_by_itself(
    operator: Principal, organization: Organization, device: Device
):
    waiting = DeviceFactory(organization=organization, device_id="new-1", lifecycle="pending")

    page = text_of(act(browser_of(operator), "accept_selected", device, waiting))

    waiting.refresh_from_db()
    assert waiting.lifecycle == "active"
    assert "1 device accepted." in page
    assert "studio-1 is active; this needs it to be pending." in page


def test_retiring_asks_first_and_keeps_the_reason(admin: Principal, device: Device):
    browser = browser_of(admin)

    asked = text_of(act(browser, "retire_selected", device))
    device.refresh_from_db()
    still = device.lifecycle
    act(browser, "retire_selected", device, confirmed="1", reason="Broken screen")

    device.refresh_from_db()
    assert "studio-1" in asked
    assert (still, device.lifecycle) == ("active", "retired")
    assert AuditEntry.objects.get(action="device.retire").after["reason"] == "Broken screen"


def test_tags_are_added_and_removed_in_bulk(operator: Principal, organization: Organization):
    first = DeviceFactory(organization=organization, tags=["old"])
    second = DeviceFactory(organization=organization, tags=["old", "kept"])

    act(browser_of(operator), "tag_selected", first, second, confirmed="1", add="new", remove="old")

    assert sorted(Device.objects.values_list("tags", flat=True)) == [["kept", "new"], ["new"]]


def test_more_devices_than_an_act_may_touch_are_refused(
    operator: Principal, organization: Organization, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("common.limits.COMMAND_BULK_DEVICES", 2)
    devices = DeviceFactory.create_batch(3, organization=organization)

    page = text_of(act(browser_of(operator), "maintenance_on", *devices))

    assert "More than 2 devices are selected" in page
    assert not Device.objects.filter(maintenance_mode=True).exists()


def test_the_csv_export_honours_filters_and_tenants_and_no_formula_survives(
    viewer: Principal, organization: Organization, foreign: Device
):
    DeviceFactory(organization=organization, device_id="a-1", name='=HYPERLINK("x")', tags=["@x"])
    DeviceFactory(organization=organization, device_id="b-1", segment="canary")

    answer = browser_of(viewer).post(f"{LIST}export/?segment=general", {"format": "0"})

    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    entry = AuditEntry.objects.get(action="device.export")
    assert [row["device_id"] for row in rows] == ["a-1"]
    assert rows[0]["name"] == '\'=HYPERLINK("x")'
    assert rows[0]["tags"] == "'@x"
    assert rows[0]["health"] == "unknown"
    assert entry.after == {"format": "csv", "filters": {"segment": "general"}}


def test_the_xlsx_export_holds_text_and_no_formula(viewer: Principal, organization: Organization):
    DeviceFactory(organization=organization, device_id="a-1", name="=1+1")

    answer = browser_of(viewer).post(f"{LIST}export/", {"format": "1"})

    sheet = openpyxl.load_workbook(io.BytesIO(answer.content)).active
    header, row = list(sheet.iter_rows(values_only=True))
    assert dict(zip(header, row, strict=True))["name"] == "'=1+1"
    assert "f" not in {cell.data_type for cell in sheet[2]}


def test_an_export_that_is_too_long_is_refused(
    viewer: Principal, organization: Organization, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("common.limits.EXPORT_ROWS_XLSX", 1)
    DeviceFactory.create_batch(2, organization=organization)

    page = text_of(browser_of(viewer).post(f"{LIST}export/", {"format": "0"}, follow=True))

    assert "at most 1 devices" in page


def test_groups_are_made_renamed_and_deleted_by_admins_only(admin: Principal, operator: Principal):
    path = "/admin/devices/devicegroup/"
    browser = browser_of(admin)

    browser.post(f"{path}add/", {"name": "Stage", "description": ""})
    group = admin.organization and browser.get(path).context["cl"].result_list[0]
    browser.post(f"{path}{group.pk}/change/", {"name": "Main stage", "description": ""})
    renamed = browser.get(path).context["cl"].result_list[0].name
    refused = browser_of(operator).post(f"{path}{group.pk}/delete/", {"post": "yes"})
    browser.post(f"{path}{group.pk}/delete/", {"post": "yes"})

    assert renamed == "Main stage"
    assert refused.status_code == 403
    assert list(
        AuditEntry.objects.filter(target_type="devicegroup")
        .order_by("seq")
        .values_list("action", flat=True)
    ) == ["group.create", "group.update", "group.delete"]


def test_a_group_with_a_taken_name_is_refused_with_one_message(
    admin: Principal, organization: Organization
):
    group_of(organization, name="Stage")

    page = text_of(
        browser_of(admin).post("/admin/devices/devicegroup/add/", {"name": "Stage"}, follow=True)
    )

    assert "A group “Stage” exists already" in page
    assert "successfully" not in page


def test_grants_of_a_person_are_written_one_by_one(
    admin: Principal, limited: Principal, organization: Organization
):
    kept, dropped, added = (group_of(organization, name=name) for name in ("k", "d", "a"))
    for group in (kept, dropped):
        assign_perm(f"devices.{GRANT}", limited.user, group)
    row = limited.user.memberships.get()
    form = {"role": "operator", "limited_to_groups": "on", "granted": [kept.pk, added.pk]}

    browser_of(admin).post(f"/admin/accounts/membership/{row.pk}/change/", form)

    has = [group.name for group in (kept, dropped, added) if limited.user.has_perm(
        f"devices.{GRANT}", group)]  # fmt: skip
    assert has == ["k", "a"]
    assert AuditEntry.objects.filter(action="group.grant").count() == 1
    assert AuditEntry.objects.filter(action="group.revoke").count() == 1


def test_a_foreign_group_cannot_be_granted(admin: Principal, limited: Principal, foreign: Device):
    theirs = group_of(foreign.organization, foreign, name="theirs")
    row = limited.user.memberships.get()
    form = {"role": "operator", "limited_to_groups": "on", "granted": [theirs.pk]}

    answer = browser_of(admin).post(f"/admin/accounts/membership/{row.pk}/change/", form)

    assert answer.status_code == 200
    assert not limited.user.has_perm(f"devices.{GRANT}", theirs)

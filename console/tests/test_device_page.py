from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Organization
from accounts.policy import Role
from accounts.principals import Principal
from accounts.tests.factories import member
from audit.models import AuditEntry
from commands.tests.factories import CommandFactory
from common import clock
from common.ids import uuid7
from console.tests.browsers import browser_of, text_of
from devices.models import Device, DeviceState, Heartbeat
from devices.tests.factories import DeviceFactory
from releases.tests.factories import ReleaseFactory, update_of

TABS = [
    "",
    "/heartbeats",
    "/commands",
    "/updates",
    "/events",
    "/audit",
    "/live",
    "/commands/live",
    "/chart",
]


def at(device: Device, part: str = "") -> str:
    return f"/console/devices/{device.pk}{part}"


def beat(device: Device, **fields: object) -> None:
    now = timezone.now()
    Heartbeat.objects.create(
        device=device,
        organization=device.organization,
        received_at=now,
        health="healthy",
        **{"at": now, **fields},
    )


@pytest.mark.parametrize("tab", TABS)
def test_a_foreign_device_and_an_absent_one_give_the_same_404(
    operator: Principal, other_organization: Organization, tab: str
):
    foreign = DeviceFactory(organization=other_organization)
    browser = browser_of(operator)

    seen = [browser.get(f"/console/devices/{pk}{tab}") for pk in (foreign.pk, uuid7())]

    assert [answer.status_code for answer in seen] == [404, 404]
    assert seen[0].content == seen[1].content


@pytest.mark.parametrize("tab", TABS)
def test_a_device_of_no_granted_group_is_absent_for_a_limited_person(
    organization: Organization, device: Device, tab: str
):
    limited = member(organization, Role.OPERATOR, limited_to_groups=True)

    assert browser_of(limited).get(at(device, tab)).status_code == 404


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_is_there_for_operators(operator: Principal, device: Device, tab: str):
    CommandFactory(device=device)
    beat(device, cpu_percent=12.5)

    assert browser_of(operator).get(at(device, tab)).status_code == 200


def test_the_overview_shows_the_latest_state(viewer: Principal, device: Device):
    DeviceState.objects.filter(pk=device.pk).update(
        health="degraded", cpu_percent=91.4, temperature_c=55.2, version="2.4.1",
        errors=[{"code": "disk", "message": "Disk is <full>"}], metrics={"load_1m": 0.5},
    )  # fmt: skip

    page = text_of(browser_of(viewer).get(at(device)))

    for part in ("degraded", "91 %", "fp-track-full", "55 °C", "2.4.1", "load_1m"):
        assert part in page
    assert "Disk is &lt;full&gt;" in page


def test_the_updates_tell_what_was_not_believed(viewer: Principal, device: Device):
    update_of(
        device,
        ReleaseFactory(organization=device.organization),
        status="failed",
        finished_at=clock.now(),
        failure_class="verification",
        error_code="mix_and_match",
        error="9.snapshot.json does not belong to the other files of the repository.",
    )

    page = text_of(browser_of(viewer).get(at(device, "/updates")))

    assert "mix_and_match" in page
    assert "9.snapshot.json does not belong to the other files" in page


def test_the_changing_part_is_fetched_alone(viewer: Principal, device: Device):
    DeviceState.objects.filter(pk=device.pk).update(cpu_percent=33)

    page = browser_of(viewer).get(at(device, "/live")).content.decode()

    assert "33 %" in page
    assert "<html" not in page


def test_the_chart_holds_averages_and_gaps(viewer: Principal, device: Device):
    now = timezone.now()
    beat(device, at=now - timedelta(minutes=3), cpu_percent=10, temperature_c=40)
    beat(device, at=now - timedelta(minutes=33), cpu_percent=30)

    data = browser_of(viewer).get(at(device, "/chart?hours=1")).json()

    assert len(data["at"]) == len(data["series"]["cpu_percent"])
    assert {value for value in data["series"]["cpu_percent"] if value is not None} == {10, 30}
    assert {value for value in data["series"]["temperature_c"] if value is not None} == {40}
    assert None in data["series"]["cpu_percent"]
    # A device that speaks each minute has a value in each step of twice that.
    assert data["step"] == 120


@pytest.mark.parametrize("hours", ["", "5", "x", "-1", "999999999999", "²"])
def test_a_span_that_is_not_offered_shows_six_hours(viewer: Principal, device: Device, hours: str):
    data = browser_of(viewer).get(at(device, "/chart"), {"hours": hours}).json()

    assert 6 * 3_600 <= data["to"] - data["from"] < 6 * 3_600 + data["step"]


@pytest.mark.parametrize(
    ("role", "offered"),
    [
        (Role.VIEWER, set()),
        (Role.OPERATOR, {"do/maintenance", "do/status", "command/queue"}),
        (Role.ADMIN, {"do/maintenance", "do/status", "command/queue", "do/retire"}),
    ],
)
def test_verbs_are_offered_where_the_role_holds_the_right(
    organization: Organization, device: Device, role: str, offered: set[str]
):
    page = browser_of(member(organization, role)).get(at(device)).content.decode()

    known = ("do/accept", "do/reject", "do/maintenance", "do/status", "command/queue", "do/retire")
    assert {verb for verb in known if verb in page} == offered


@pytest.mark.parametrize("verb", ["accept", "reject", "maintenance", "status", "retire"])
def test_a_viewer_who_posts_a_verb_is_refused(viewer: Principal, device: Device, verb: str):
    browser = browser_of(viewer)

    assert browser.post(at(device, f"/do/{verb}"), {"on": "1"}).status_code == 403
    device.refresh_from_db()
    assert (device.lifecycle, device.maintenance_mode) == ("active", False)


def test_verbs_are_forms_and_unknown_ones_are_absent(admin: Principal, device: Device):
    browser = browser_of(admin)

    assert browser.get(at(device, "/do/retire")).status_code == 405
    assert browser.post(at(device, "/do/explode")).status_code == 404


def test_a_foreign_device_is_acted_on_by_nobody(admin: Principal, stranger: Principal):
    foreign = DeviceFactory(organization=stranger.organization)

    assert browser_of(admin).post(at(foreign, "/do/retire")).status_code == 404
    foreign.refresh_from_db()
    assert foreign.lifecycle == "active"


def test_maintenance_is_switched_on_and_off(operator: Principal, device: Device):
    browser = browser_of(operator)

    for wanted, expected in (("1", True), ("0", False)):
        browser.post(at(device, "/do/maintenance"), {"on": wanted})
        device.refresh_from_db()
        assert device.maintenance_mode is expected


def test_a_status_is_set_for_some_hours_and_lifted(operator: Principal, device: Device):
    browser = browser_of(operator)

    browser.post(at(device, "/do/status"), {"status": "failed", "reason": "Cracked", "hours": "2"})
    device.refresh_from_db()
    shown = text_of(browser.get(at(device)))
    until = device.status_override_until
    browser.post(at(device, "/do/status"), {"status": ""})
    device.refresh_from_db()

    assert "Shown as failed by a person: Cracked" in shown
    assert timedelta(hours=1) < until - clock.now() <= timedelta(hours=2)
    assert device.status_override == ""
    assert AuditEntry.objects.filter(action="device.status_override").count() == 2


def test_a_status_nobody_knows_is_refused_with_a_sentence(operator: Principal, device: Device):
    page = browser_of(operator).post(
        at(device, "/do/status"), {"status": "on fire", "hours": "x"}, follow=True
    )

    device.refresh_from_db()
    assert "status: Select a valid choice" in text_of(page)
    assert device.status_override == ""


def test_a_verb_that_does_not_fit_the_lifecycle_says_so(admin: Principal, device: Device):
    page = browser_of(admin).post(at(device, "/do/accept"), follow=True)

    assert "studio-1 is active; this needs it to be pending." in text_of(page)


def test_one_goes_back_to_a_page_of_this_site_only(operator: Principal, device: Device):
    browser = browser_of(operator)

    for wanted in ("https://evil.example/", "//evil.example/", "javascript:alert(1)"):
        answer = browser.post(at(device, "/do/maintenance"), {"on": "1", "next": wanted})
        assert answer.url == at(device)


def test_the_audit_tab_is_closed_to_viewers(viewer: Principal, device: Device):
    browser = browser_of(viewer)

    assert browser.get(at(device, "/audit")).status_code == 403
    assert "/audit" not in browser.get(at(device)).content.decode()


def test_no_tab_costs_more_with_more_rows(
    operator: Principal, device: Device, django_assert_max_num_queries
):
    now = timezone.now()
    for number in range(60):
        CommandFactory(device=device)
        beat(device, at=now - timedelta(seconds=number), sequence=number)
    browser = browser_of(operator)

    for tab in TABS:
        with django_assert_max_num_queries(14):
            browser.get(at(device, tab))

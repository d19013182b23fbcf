"""Rollouts in the browser: planned with a live count, watched, stopped."""

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Organization
from accounts.principals import Principal
from common import clock
from console.tests.browsers import browser_of, text_of
from devices.models import Device
from devices.tests.factories import DeviceFactory
from releases.models import Release, Rollout, SiteCalendar
from releases.tests.factories import (
    ArtifactFactory,
    ReleaseFactory,
    RolloutFactory,
    RolloutStageFactory,
    RolloutTargetFactory,
    published,
    update_of,
)

pytestmark = pytest.mark.django_db

LIST = "/admin/releases/rollout/"
FORM = {
    "way": "filter", "verify_minutes": "5", "update_timeout_minutes": "120", "on_halt": "halt",
    "canary-takes_part": "on", "canary-percentage": "50", "canary-soak_minutes": "30",
    "general-takes_part": "on", "general-percentage": "100", "general-soak_minutes": "0",
    "early-percentage": "100", "early-soak_minutes": "0",
    "rule-0-failure": "all", "rule-0-threshold_percent": "25", "rule-0-min_completed": "4",
}  # fmt: skip


@pytest.fixture
def release(organization: Organization) -> Release:
    release = ReleaseFactory(organization=organization, version="2.0.0")
    ArtifactFactory(release=release)
    return published(release)


@pytest.fixture
def running(release: Release, device: Device) -> Rollout:
    rollout: Rollout = RolloutFactory(release=release, status="running", started_at=clock.now())
    RolloutStageFactory(rollout=rollout, segment="general", opened_at=clock.now())
    target = RolloutTargetFactory(rollout=rollout, device=device)
    update = update_of(device, release, rollout=rollout, status="failed", error="no space left",
                       failure_class="space", finished_at=clock.now())  # fmt: skip
    target.update = update
    target.save(update_fields=["update"])
    return rollout


def act(principal: Principal, rollout: Rollout, verb: str, **entered: str) -> str:
    browser = browser_of(principal)
    return text_of(browser.post(f"{LIST}{rollout.pk}/do/{verb}/", entered, follow=True))


def test_the_form_makes_a_draft_of_the_plan_and_tells_no_device(
    admin: Principal, release: Release, device: Device
):
    answer = browser_of(admin).post(f"{LIST}add/", {**FORM, "release": str(release.pk)})
    rollout = Rollout.objects.get()

    assert answer.url == f"{LIST}{rollout.pk}/change/"
    assert (rollout.status, rollout.selection) == ("draft", {"all": True})
    assert [(one.segment, one.percentage, one.soak_minutes)
            for one in rollout.stages.order_by("position")] == [
        ("canary", 50, 30), ("general", 100, 0)]  # fmt: skip
    assert rollout.failure_rules == [
        {"failure": "all", "threshold_percent": 25, "min_completed": 4}
    ]
    device.refresh_from_db()
    assert device.target_version == ""


def test_the_form_counts_who_takes_part(admin: Principal, release: Release, device: Device):
    DeviceFactory(organization=release.organization, segment="canary")
    form = {**FORM, "release": str(release.pk), "canary-percentage": "100"}

    counted = text_of(browser_of(admin).post(f"{LIST}count/", form))
    nothing = text_of(browser_of(admin).post(f"{LIST}count/", {"way": "filter"}))

    assert '<span class="fp-large">2</span> devices' in counted
    assert "Choose a release" in nothing


def test_a_window_that_is_half_filled_in_is_named(admin: Principal, release: Release):
    form = {**FORM, "release": str(release.pk), "window_start": "22:00"}

    page = text_of(browser_of(admin).post(f"{LIST}add/", form))

    assert "A window has a start and a length." in page
    assert not Rollout.objects.exists()


def test_the_page_shows_stages_and_failures_by_reason(operator: Principal, running: Rollout):
    page = text_of(browser_of(operator).get(f"{LIST}{running.pk}/change/"))

    assert "no space left" in page
    assert "opened" in page
    assert "studio-1" in page
    assert "1 of 1 ended" in page


def test_an_operator_stops_a_rollout_and_does_not_start_it_again(
    operator: Principal, running: Rollout
):
    assert "Halted." in act(operator, running, "halt", reason="smoke")
    browser = browser_of(operator)
    assert browser.post(f"{LIST}{running.pk}/do/resume/", {"reason": "x"}).status_code == 403
    running.refresh_from_db()
    assert (running.status, running.reason) == ("halted", "smoke")


def test_a_halted_rollout_goes_on_with_a_reason_only(admin: Principal, running: Rollout):
    act(admin, running, "halt", reason="smoke")

    assert "only with a reason" in act(admin, running, "resume")
    assert "goes on" in act(admin, running, "resume", reason="it was a toaster")


def test_the_next_stage_waits_for_the_soak_time_or_a_reason(admin: Principal, running: Rollout):
    RolloutStageFactory(rollout=running, segment="early", position=1)

    assert "soak time" in act(admin, running, "promote").lower()
    assert "The next stage is open." in act(admin, running, "promote", reason="urgent fix")
    assert "urgent fix" in text_of(browser_of(admin).get(f"{LIST}{running.pk}/change/"))


def test_the_live_part_and_a_foreign_rollout(running: Rollout, stranger: Principal):
    browser = browser_of(stranger)

    assert browser.get(f"{LIST}{running.pk}/live/").status_code == 404
    assert browser.get(f"{LIST}{running.pk}/change/").status_code == 302


def test_the_list_shows_progress_in_a_fixed_number_of_queries(
    operator: Principal, running: Rollout, django_assert_max_num_queries: Any
):
    browser = browser_of(operator)

    with django_assert_max_num_queries(16):
        page = text_of(browser.get(LIST))

    assert "1 of 1" in page


def test_a_calendar_is_written_as_lines(admin: Principal):
    entered = {
        "site": "Berlin",
        "timezone": "Europe/Berlin",
        "windows": "Mon-Fri 22:00-04:00\nSun 00:00-06:00",
        "blackouts": "2030-12-20 to 2031-01-02 trade",
    }
    browser_of(admin).post("/admin/releases/sitecalendar/add/", entered)
    calendar = SiteCalendar.objects.get()

    assert calendar.windows == [
        {"start": "22:00", "duration_minutes": 360, "days": [0, 1, 2, 3, 4]},
        {"start": "00:00", "duration_minutes": 360, "days": [6]},
    ]
    assert calendar.blackouts[0]["reason"] == "trade"
    page = text_of(browser_of(admin).get(f"/admin/releases/sitecalendar/{calendar.pk}/change/"))
    assert "Mon, Tue, Wed, Thu, Fri 22:00-04:00" in page


def test_a_line_of_a_calendar_that_cannot_be_read_is_named(admin: Principal):
    entered = {"site": "Berlin", "timezone": "Europe/Berlin", "windows": "at night"}

    page = text_of(browser_of(admin).post("/admin/releases/sitecalendar/add/", entered))

    assert "“at night” cannot be read" in page


def test_a_devices_page_says_why_it_waits(operator: Principal, running: Rollout, device: Device):
    Device.objects.filter(pk=device.pk).update(
        version_lock="1.0.0", version_lock_owner="ada", version_lock_reason="show tonight",
        version_lock_expires_at=clock.now() + timedelta(hours=5),
    )  # fmt: skip

    page = text_of(browser_of(operator).get(f"/console/devices/{device.pk}/updates"))

    assert "no space left" in page
    assert "version lock" in page
    assert "fp-gate-closed" in page


def test_a_device_goes_into_safe_mode_and_out_by_buttons(operator: Principal, device: Device):
    browser = browser_of(operator)
    acts = f"/console/devices/{device.pk}/do/"

    browser.post(f"{acts}safe-mode/".rstrip("/"), {"reason": "it reboots all the time"})
    device.refresh_from_db()
    entered = device.safe_mode
    browser.post(f"{acts}leave-safe-mode", {"reason": "the plug was loose"})
    device.refresh_from_db()

    assert (entered, device.safe_mode) == (True, False)

from datetime import timedelta
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Organization
from accounts.policy import Role
from accounts.principals import Principal
from accounts.tests.factories import member
from commands.tests.factories import CommandFactory
from common import clock
from console.dashboard import PULSE_PATIENCE, pulses
from console.tests.browsers import browser_of, text_of
from devices.models import Device, DriftReport, ServicePulse
from devices.tests.factories import DeviceFactory
from releases.models import Rollout
from releases.tests.factories import (
    ReleaseFactory,
    RolloutFactory,
    RolloutStageFactory,
    RolloutTargetFactory,
)


def test_an_empty_fleet_is_invited_to_add_its_first_device(admin: Principal, viewer: Principal):
    for_admin = text_of(browser_of(admin).get("/admin/"))
    for_viewer = text_of(browser_of(viewer).get("/admin/"))

    assert "Add your first device" in for_admin
    assert 'fp-button-main" href="/console/add-device"' in for_admin
    assert "/console/add-device" not in for_viewer


def test_devices_are_counted_by_health_and_each_count_leads_to_its_list(
    viewer: Principal, organization: Organization, stranger: Principal
):
    for health in ("healthy", "healthy", "offline"):
        DeviceFactory(organization=organization, state__health=health)
    DeviceFactory(organization=stranger.organization, state__health="failed")

    answer = browser_of(viewer).get("/admin/")

    cards = {card["name"]: card for card in answer.context["health"]}
    counts = {name: card["count"] for name, card in cards.items()}
    assert counts == {"healthy": 2, "degraded": 0, "failed": 0, "offline": 1, "unknown": 0}
    listed = browser_of(viewer).get(cards["offline"]["href"]).context["cl"]
    assert listed.result_count == 1


def test_a_device_that_waits_is_accepted_from_the_first_page(
    operator: Principal, viewer: Principal, organization: Organization
):
    waiting = DeviceFactory(organization=organization, device_id="new-1", lifecycle="pending")
    browser = browser_of(operator)

    page = text_of(browser.get("/admin/"))
    answer = browser.post(f"/console/devices/{waiting.pk}/do/accept", {"next": "/admin/"})

    waiting.refresh_from_db()
    assert "new-1" in page
    assert answer.url == "/admin/"
    assert waiting.lifecycle == "active"
    assert "do/accept" not in text_of(browser_of(viewer).get("/admin/"))


def test_commands_that_failed_are_named_with_their_reason(viewer: Principal, device: Device):
    CommandFactory(
        device=device, status="failed", finished_at=clock.now(), error="Unit not found <b>"
    )

    page = text_of(browser_of(viewer).get("/admin/"))

    assert "Unit not found &lt;b&gt;" in page


def test_the_page_costs_the_same_whatever_the_size_of_the_fleet(
    viewer: Principal, organization: Organization
):
    browser = browser_of(viewer)

    def cost() -> int:
        with CaptureQueriesContext(connection) as seen:
            browser.get("/admin/")
        return len(seen)

    for _ in range(3):
        CommandFactory(device=DeviceFactory(organization=organization))
    under_way(organization)
    few = cost()
    for _ in range(30):
        CommandFactory(device=DeviceFactory(organization=organization))
    for _ in range(3):
        under_way(organization)

    assert cost() == few
    assert few <= 21


def under_way(organization: Organization, **fields: Any) -> Rollout:
    release = ReleaseFactory(organization=organization)
    now = clock.now()
    rollout: Rollout = RolloutFactory(
        release=release, **{"status": "running", "started_at": now, **fields}
    )
    RolloutStageFactory(rollout=rollout, segment="canary", percentage=25, opened_at=now)
    RolloutTargetFactory(rollout=rollout)
    return rollout


def test_rollouts_on_their_way_and_stopped_ones_stand_on_the_first_page(
    viewer: Principal, organization: Organization
):
    rollout = under_way(organization, status="halted", reason="4 of 9 updates failed")
    ended = under_way(organization, status="completed", finished_at=clock.now(), name="long over")

    page = text_of(browser_of(viewer).get("/admin/"))

    assert f"/admin/releases/rollout/{rollout.pk}/change/" in page
    assert "canary at 25 %" in page
    assert "4 of 9 updates failed" in page
    assert ended.name not in page


def test_drift_and_safe_mode_are_counted_and_lead_to_their_lists(
    viewer: Principal, organization: Organization, stranger: Principal
):
    now = clock.now()
    for owner in (organization, stranger.acting_organization()):
        device = DeviceFactory(organization=owner, safe_mode=True)
        DriftReport.objects.create(organization=owner, device=device, first_at=now, last_at=now)

    answer = browser_of(viewer).get("/admin/")

    care = {one["label"]: one for one in answer.context["needs_care"]}
    assert {label: one["count"] for label, one in care.items()} == {
        "with drift": 1, "in safe mode": 1}  # fmt: skip
    listed = browser_of(viewer).get(care["in safe mode"]["href"]).context["cl"]
    assert listed.result_count == 1


def test_a_fleet_without_rollouts_and_drift_has_no_card_for_them(viewer: Principal, device: Device):
    assert "Releases on their way" not in text_of(browser_of(viewer).get("/admin/"))


def test_a_part_of_the_portal_that_is_silent_is_named(db: None):
    now = clock.now()
    ServicePulse.objects.create(name="gateway", since=now, at=now)
    ServicePulse.objects.create(name="beat", since=now, at=now - PULSE_PATIENCE * 2)

    states = {part["name"]: (part["state"], part["age"]) for part in pulses(now)}

    assert states == {
        "gateway": ("well", 0),
        "beat": ("silent", (PULSE_PATIENCE * 2).total_seconds()),
        "worker": ("silent", None),
    }


def test_a_limited_person_counts_granted_devices_only(organization: Organization, device: Device):
    limited = member(organization, Role.VIEWER, limited_to_groups=True)
    CommandFactory(
        device=device,
        status="failed",
        finished_at=clock.now() - timedelta(hours=1),
        error="not for them",
    )

    answer = browser_of(limited).get("/admin/")

    assert answer.context["total"] == 0
    assert "not for them" not in text_of(answer)

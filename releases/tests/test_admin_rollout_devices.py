"""What a rollout would do and who takes part, in the browser."""

from datetime import timedelta

import pytest

from accounts.models import Organization
from accounts.principals import Principal
from common import clock
from console.tests.browsers import browser_of, text_of
from devices.models import Device
from devices.tests.factories import DeviceFactory
from releases.models import Release, Rollout
from releases.services.targets import HOLDBACK, chosen_of, targets_add
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


@pytest.fixture
def release(organization: Organization) -> Release:
    release = ReleaseFactory(organization=organization, version="2.0.0")
    ArtifactFactory(release=release, size=3_000_000)
    return published(release)


@pytest.fixture
def draft(release: Release) -> Rollout:
    rollout: Rollout = RolloutFactory(release=release, selection={"all": True})
    RolloutStageFactory(rollout=rollout, segment="canary", soak_minutes=120)
    RolloutStageFactory(rollout=rollout, segment="general", position=1)
    return rollout


@pytest.fixture
def running(release: Release, device: Device) -> Rollout:
    """A rollout with one device that failed, one that waits, and one that is held back."""
    rollout: Rollout = RolloutFactory(release=release, status="running", started_at=clock.now())
    RolloutStageFactory(rollout=rollout, segment="general", opened_at=clock.now())
    failed = RolloutTargetFactory(rollout=rollout, device=device)
    failed.update = update_of(device, release, rollout=rollout, status="failed",
                              error="no space left", finished_at=clock.now())  # fmt: skip
    failed.save(update_fields=["update"])
    for name, left_out in (("waits", ""), ("held", HOLDBACK)):
        other = DeviceFactory(organization=release.organization, device_id=name)
        RolloutTargetFactory(rollout=rollout, device=other, left_out=left_out)
    return rollout


def opened(principal: Principal, rollout: Rollout, part: str) -> str:
    return text_of(browser_of(principal).get(f"{LIST}{rollout.pk}/{part}"))


def test_a_draft_tells_who_would_get_it_what_it_downloads_and_what_is_assumed(
    operator: Principal, draft: Rollout, organization: Organization
):
    for segment, site in (("canary", "Oslo"), ("general", "Oslo"), ("general", "Rome")):
        DeviceFactory(organization=organization, segment=segment, site=site)
    DeviceFactory(organization=organization, segment="general", maintenance_mode=True)

    page = opened(operator, draft, "change/")
    told = opened(operator, draft, "simulation/")

    assert "data-soon" in page
    assert "2 h soak time" in told
    assert "2 of 3 get it" in told
    assert "1 wait: maintenance" in told
    assert told.index("Oslo") < told.index("Rome")
    assert "What is assumed" in told


def test_a_frozen_list_is_held_against_what_the_selection_means_now(
    admin: Principal, draft: Rollout, organization: Organization
):
    DeviceFactory.create_batch(2, organization=organization, segment="general")
    targets_add(rollout=draft, chosen=chosen_of(draft), now=clock.now())
    Rollout.objects.filter(pk=draft.pk).update(status="awaiting_approval")
    DeviceFactory(organization=organization, device_id="newcomer", segment="general")

    told = opened(admin, draft, "simulation/")

    assert "with the frozen list" in told
    assert "1 came to fit: newcomer" in told


def test_other_rollouts_that_want_the_same_devices_are_named(
    operator: Principal, draft: Rollout, device: Device, organization: Organization
):
    other = RolloutFactory(
        release=ReleaseFactory(organization=organization),
        name="the other one",
        status="running",
        started_at=clock.now(),
    )
    RolloutTargetFactory(rollout=other, device=device)

    assert "the other one" in opened(operator, draft, "simulation/")


def test_a_rollout_that_has_begun_is_not_simulated_any_more(operator: Principal, running: Rollout):
    told = opened(operator, running, "simulation/")

    assert "data-ended" in told
    assert "What it would do" not in told


def test_devices_are_listed_with_their_state_and_lead_to_their_updates(
    operator: Principal, running: Rollout, device: Device
):
    page = opened(operator, running, "devices/")

    assert f"/console/devices/{device.pk}/updates" in page
    assert "no space left" in page
    assert "3 devices" in page


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("state=failed", {"studio-1"}),
        ("state=waiting", {"waits"}),
        ("state=left_out", {"held"}),
        ("segment=general", {"studio-1", "waits", "held"}),
        ("state=verified", set()),
        ("state=nonsense&segment=nonsense&page=999", {"studio-1", "waits", "held"}),
    ],
)
def test_devices_are_narrowed_by_state_and_segment(
    operator: Principal, running: Rollout, asked: str, named: set[str]
):
    page = opened(operator, running, f"devices/?{asked}")

    shown = {name for name in ("studio-1", "waits", "held") if f"<b>{name}</b>" in page}
    assert shown == named


@pytest.mark.parametrize("page", ["1", "0", "-1", "x", "9" * 40])
def test_a_draft_lists_devices_in_the_order_in_which_they_would_be_taken(
    operator: Principal, draft: Rollout, device: Device, page: str
):
    listed = opened(operator, draft, f"devices/?segment={device.segment}&page={page}")

    assert "in the order in which devices would be taken" in listed
    assert device.device_id in listed


def test_what_the_pairs_say_is_told_in_words(operator: Principal, running: Rollout):
    seen = {"updated_worse": 4, "control_worse": 1, "ties": 9}
    evidence = {**seen, "halted_at": (clock.now() - timedelta(hours=1)).isoformat(),
                "until_halt": {"updated_worse": 9}}  # fmt: skip
    Rollout.objects.filter(pk=running.pk).update(evidence=evidence)

    page = opened(operator, running, "change/")

    assert "<b>4 of 5</b> pairs that differ" in page
    assert "9 pairs are alike" in page
    assert "it halts at 1,000 : 1" in page
    assert "Until the last halt: 9 of 9 worse" in page


def test_the_proof_that_the_rules_fire_stands_on_the_page(
    admin: Principal, draft: Rollout, device: Device
):
    browser = browser_of(admin)

    page = text_of(browser.post(f"{LIST}{draft.pk}/do/drill/", {}, follow=True))

    assert "The rules fire as they should." in page
    assert "made-up cohorts" in page
    assert "healthy cohort" in page


def test_devices_that_are_held_back_and_such_without_a_way_back_are_named(
    operator: Principal, running: Rollout
):
    rollback = {"by": "ada", "reason": "", "without": 1, "named": ["old-1"]}
    Rollout.objects.filter(pk=running.pk).update(evidence={"rollback": rollback})

    page = opened(operator, running, "change/")

    assert "held</a>" in page
    assert "old-1" in page


@pytest.mark.parametrize("name", ["running", "draft"])
def test_the_devices_of_a_foreign_rollout_are_as_good_as_absent(
    stranger: Principal, request: pytest.FixtureRequest, name: str
):
    rollout = request.getfixturevalue(name)
    browser = browser_of(stranger)

    assert browser.get(f"{LIST}{rollout.pk}/devices/").status_code == 302
    assert browser.get(f"{LIST}{rollout.pk}/simulation/").status_code == 404

"""What people do with a rollout, and what it refuses."""

from datetime import timedelta

from rest_framework.test import APIClient

from accounts.models import Organization
from accounts.policy import Role
from accounts.tests.clients import api_of
from accounts.tests.factories import member
from common import clock
from devices.models import Device
from devices.services.groups import group_grant
from devices.tests.factories import DeviceFactory, group_of
from releases.models import Rollout, RolloutStage, RolloutTarget
from releases.tasks import rollouts_advance
from releases.tests.factories import ReleaseFactory
from releases.tests.rollout_calls import (
    URL,
    act,
    actions,
    fleet,
    planned,
    read,
    ready_release,
    soaked,
    started,
    updates,
    verify,
)

CANARY = {"stages": [{"segment": "canary"}]}


def refused(api: APIClient, rollout: dict, verb: str, **body: object) -> tuple[int, str]:
    answer = api.post(f"{URL}/{rollout['id']}/{verb}", body)
    return answer.status_code, answer.json()["code"]


def test_a_stage_opens_after_its_soak_time_or_with_a_reason_that_is_kept(
    admin_api: APIClient, organization: Organization
):
    fleet(organization, 1, "canary")
    fleet(organization, 1, "early")
    fleet(organization, 1, "general")
    rollout = started(admin_api, ready_release(organization))
    rollouts_advance()

    assert refused(admin_api, rollout, "promote", targetSegment="general")[0] == 422
    assert refused(admin_api, rollout, "promote", targetSegment="canary") == (409, "rollout_state")
    answer = admin_api.post(f"{URL}/{rollout['id']}/promote", {"targetSegment": "early"})
    assert (answer.status_code, answer.json()["code"]) == (409, "soak_not_over")
    assert answer.json()["ends_at"] is None
    told = act(admin_api, rollout, "promote", targetSegment="early", reason="a leak is fixed")
    canary, early, _ = told["stages"]
    assert (canary["override_reason"], bool(early["opened_at"])) == ("a leak is fixed", True)
    verify(*updates())
    rollouts_advance()
    verify(*updates(segment="early"))
    rollouts_advance()
    soaked(rollout)
    told = act(admin_api, rollout, "promote", target_segment="general")
    assert told["stages"][1]["override_reason"] == ""
    assert actions() == [
        "rollout.create",
        "rollout.drill",
        "rollout.start",
        "rollout.promote",
        "rollout.promote",
    ]


def test_a_percentage_is_raised_never_lowered_and_drops_nobody(
    admin_api: APIClient, organization: Organization
):
    fleet(organization, 40, "canary")
    release = ready_release(organization)
    rollout = started(admin_api, release, stages=[{"segment": "canary", "percentage": 20}])
    rollouts_advance()
    first = {row.device_id for row in updates()}

    assert refused(admin_api, rollout, "promote", rolloutPercentage=10)[0] == 422
    act(admin_api, rollout, "promote", rolloutPercentage=60)
    rollouts_advance()

    second = {row.device_id for row in updates()}
    assert 0 < len(first) < len(second) < 40
    assert first < second
    buckets = RolloutTarget.objects.filter(update__isnull=False).values_list("bucket", flat=True)
    assert max(buckets) < 6_000


def test_a_pause_holds_what_has_not_begun_to_install_and_a_resume_lets_it_go(
    admin_api: APIClient, operator_api: APIClient, organization: Organization
):
    fleet(organization, 2, "canary")
    rollout = started(admin_api, ready_release(organization), **CANARY)
    rollouts_advance()

    told = act(operator_api, rollout, "pause", reason="a fair")
    assert (told["status"], told["reason"]) == ("paused", "a fair")
    assert [row.is_paused for row in updates()] == [True, True]
    assert operator_api.post(f"{URL}/{rollout['id']}/resume").status_code == 403
    assert act(admin_api, rollout, "resume")["status"] == "running"
    assert [row.is_paused for row in updates()] == [False, False]
    assert refused(admin_api, rollout, "resume") == (409, "rollout_state")


def test_a_halted_rollout_goes_on_with_a_reason_and_takes_up_what_was_taken_back(
    admin_api: APIClient, organization: Organization
):
    fleet(organization, 2, "canary")
    rollout = started(admin_api, ready_release(organization), **CANARY)
    rollouts_advance()
    act(admin_api, rollout, "halt", reason="smoke")
    assert {row.status for row in updates()} == {"cancelled"}

    assert refused(admin_api, rollout, "resume") == (422, "rollout_refused")
    act(admin_api, rollout, "resume", reason="it was the toaster")
    rollouts_advance()

    assert [row.status for row in updates()].count("scheduled") == 2


def test_the_hold_back_group_waits_until_it_is_let_in(
    admin_api: APIClient, organization: Organization
):
    fleet(organization, 20, "canary")
    rollout = started(admin_api, ready_release(organization), **CANARY, holdback_percent=50)
    rollouts_advance()
    held = read(admin_api, rollout)["progress"]["by_state"]["left_out"]
    assert 0 < held < 20
    assert len(updates()) == 20 - held

    act(admin_api, rollout, "holdback/release", reason="all is well")
    rollouts_advance()

    assert len(updates()) == 20
    assert refused(admin_api, rollout, "holdback/release") == (409, "rollout_state")


def test_many_devices_take_a_second_person(admin_api: APIClient, organization: Organization):
    Organization.objects.filter(pk=organization.pk).update(rollout_approval_above=1)
    fleet(organization, 2, "canary")
    rollout = started(admin_api, ready_release(organization))
    second = api_of(member(organization, Role.ADMIN))

    assert (rollout["status"], rollout["approval_needed"]) == ("awaiting_approval", True)
    rollouts_advance()
    assert updates() == []
    assert refused(admin_api, rollout, "approve", reason="mine") == (403, "approval_refused")
    told = act(second, rollout, "approve", reason="looked at it")
    assert (told["status"], bool(told["approved_at"])) == ("running", True)
    rollouts_advance()
    assert len(updates()) == 2


def test_a_draft_can_be_changed_and_thrown_away_and_a_started_one_cannot(
    admin_api: APIClient, organization: Organization
):
    fleet(organization, 1, "canary")
    rollout = planned(admin_api, ready_release(organization))
    url = f"{URL}/{rollout['id']}"

    told = admin_api.patch(url, {"name": "new", "concurrency": 3, **CANARY}).json()
    assert (told["name"], told["concurrency"], len(told["stages"])) == ("new", 3, 1)
    act(admin_api, rollout, "start")
    assert admin_api.patch(url, {"name": "newer"}).status_code == 409
    assert admin_api.delete(url).status_code == 409
    other = planned(admin_api, ready_release(organization))
    assert admin_api.delete(f"{URL}/{other['id']}").status_code == 204


def test_what_cannot_be_carried_out_is_refused(admin_api: APIClient, organization: Organization):
    draft = ReleaseFactory(organization=organization)
    rollout = planned(admin_api, draft)
    assert refused(admin_api, rollout, "start") == (422, "rollout_refused")
    assert admin_api.post(URL, {"release": draft.version}).status_code == 409
    release = ready_release(organization)
    assert refused(admin_api, planned(admin_api, release), "start")[0] == 422  # nobody is covered
    for plan in (
        {"stages": [{"segment": "early"}, {"segment": "canary"}]},
        {"selection": {"all": False}},
        {"selection": {"group": "nobody"}},
        {"verify_minutes": 90},
        {"window": {"start": "22:00", "duration_minutes": 60, "timezone": "Mars/Phobos"}},
        {"blackouts": [{"from": "2030-01-02T00:00:00Z", "to": "2030-01-01T00:00:00Z"}]},
    ):
        answer = admin_api.post(f"{URL}/simulate", {"release": release.version, **plan})
        assert answer.status_code == 422, plan


def test_devices_that_come_to_fit_join(admin_api: APIClient, organization: Organization):
    fleet(organization, 1, "canary")
    rollout = started(admin_api, ready_release(organization), **CANARY)
    DeviceFactory(organization=organization, segment="canary")
    rollouts_advance()
    assert len(updates()) == 1

    Rollout.objects.update(joined_at=clock.now() - timedelta(minutes=1))
    rollouts_advance()

    assert (len(updates()), read(admin_api, rollout)["total"]) == (2, 2)


def test_a_release_is_promoted_paused_and_resumed_without_planning_anything(
    admin_api: APIClient, organization: Organization
):
    fleet(organization, 1, "canary")
    release = ready_release(organization)
    url = f"/api/v1/releases/{release.version}"

    assert admin_api.post(f"{url}/pause").status_code == 409
    told = admin_api.post(f"{url}/promote", {"targetSegment": "canary"}).json()
    assert (told["status"], [bool(one["opened_at"]) for one in told["stages"]]) == (
        "running", [True, False, False],
    )  # fmt: skip
    assert admin_api.post(f"{url}/promote", {"rolloutPercentage": 100}).status_code == 422
    assert admin_api.post(f"{url}/promote", {}).status_code == 422
    assert admin_api.post(f"{url}/pause").json()["status"] == "paused"
    assert admin_api.post(f"{url}/resume").json()["status"] == "running"


def test_a_limited_person_sees_a_rollout_with_a_device_of_theirs_and_cannot_stop_the_rest(
    admin_api: APIClient, admin: object, organization: Organization
):
    mine, _ = fleet(organization, 2, "canary")
    group = group_of(organization, mine)
    person = member(organization, Role.OPERATOR, limited_to_groups=True)
    group_grant(group=group, user=person.user, actor=admin)
    limited = api_of(person)
    rollout = started(admin_api, ready_release(organization), **CANARY)

    told = read(limited, rollout)
    assert (told["selection"], told["progress"]["total"]) == (None, 1)
    names = [
        one["device_id"] for one in limited.get(f"{URL}/{rollout['id']}/targets").json()["results"]
    ]
    assert names == [mine.device_id]
    assert refused(limited, rollout, "pause") == (403, "not_allowed")


def test_a_site_is_updated_only_while_its_calendar_is_open(
    admin_api: APIClient, stranger_api: APIClient, organization: Organization
):
    fleet(organization, 1, "canary", site="north")
    url = "/api/v1/site-calendars"
    dark = {"from": "2020-01-01T00:00:00Z", "to": "2090-01-01T00:00:00Z", "reason": "feast"}
    made = admin_api.post(url, {"site": "north", "blackouts": [dark]})
    assert made.status_code == 201
    assert admin_api.post(url, {"site": "north"}).status_code == 409
    assert stranger_api.get(f"{url}/{made.json()['id']}").status_code == 404
    started(admin_api, ready_release(organization), **CANARY)

    rollouts_advance()
    assert updates() == []
    assert admin_api.patch(f"{url}/{made.json()['id']}", {"blackouts": []}).status_code == 200
    rollouts_advance()
    assert len(updates()) == 1
    assert Device.objects.exclude(target_version="").count() == 1


def test_a_stage_soaks_once_enough_of_it_has_ended(
    admin_api: APIClient, organization: Organization
):
    fleet(organization, 4, "canary")
    fleet(organization, 1, "general")
    rollout = started(
        admin_api,
        ready_release(organization),
        stages=[{"segment": "canary", "soak_after_percent": 50}, {"segment": "general"}],
    )
    rollouts_advance()
    one, two, *_ = updates()

    verify(one)
    rollouts_advance()
    assert RolloutStage.objects.get(rollout=rollout["id"], position=0).soaking_since is None
    verify(two)
    rollouts_advance()

    told = read(admin_api, rollout)["stages"][0]
    assert told["soaking_since"] < told["soak_ends_at"]

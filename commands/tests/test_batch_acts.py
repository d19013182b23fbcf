"""Batches: what people do with them, and the second person."""

import pytest
from rest_framework.test import APIClient

from accounts.models import Organization
from accounts.policy import Role
from accounts.principals import Principal
from accounts.tests.clients import api_of
from accounts.tests.factories import api_key, member
from audit.models import AuditEntry
from commands.models import Command
from commands.tasks import batches_advance
from commands.tests.batch_calls import URL, finish, fleet, hand_out, made, read

# --- what people do ---


def test_a_draft_waits_until_it_is_started(operator_api: APIClient, organization: Organization):
    batch = made(operator_api, fleet(organization, 2), draft=True)
    batches_advance()
    assert (batch["status"], Command.objects.count()) == ("draft", 0)

    answer = operator_api.post(f"{URL}/{batch['id']}/start", {"reason": "go"})
    again = operator_api.post(f"{URL}/{batch['id']}/start", {})
    batches_advance()

    assert (answer.status_code, answer.json()["status"]) == (200, "scheduled")
    assert (again.status_code, again.json()["code"]) == (409, "batch_conflict")
    assert again.json()["batch_status"] == "scheduled"
    assert Command.objects.count() == 2


def test_pausing_holds_what_waits_and_resuming_lets_it_go(
    operator_api: APIClient, organization: Organization
):
    batch = made(operator_api, fleet(organization, 4), waves=[{"size": 2}])
    batches_advance()
    first = Command.objects.order_by("pk")[0]
    hand_out(first)
    held = Command.objects.filter(held_reason="batch paused")
    asked = Command.objects.filter(status="queued").order_by("pk").first()
    assert asked
    Command.objects.filter(pk=asked.pk).update(held_reason="an operator's word")

    answer = operator_api.post(f"{URL}/{batch['id']}/pause", {"reason": "the lobby is full"})

    assert (answer.json()["status"], answer.json()["reason"]) == ("paused", "the lobby is full")
    assert held.count() == 2
    # Put back meanwhile: the sweep holds it too.
    Command.objects.filter(pk=first.pk).update(status="queued", lease_expires_at=None)
    batches_advance()
    assert held.count() == 3
    resumed = operator_api.post(f"{URL}/{batch['id']}/resume", {})
    assert (resumed.json()["status"], held.count()) == ("running", 0)
    asked.refresh_from_db()
    assert asked.held_reason == "an operator's word"


def test_a_command_of_a_paused_batch_is_not_released_by_itself(
    operator_api: APIClient, organization: Organization
):
    batch = made(operator_api, fleet(organization, 1))
    batches_advance()
    operator_api.post(f"{URL}/{batch['id']}/pause", {})
    held = Command.objects.get()

    answer = operator_api.post(f"/api/v1/commands/{held.pk}/release", {})

    assert (answer.status_code, answer.json()["code"]) == (409, "command_not_held")
    assert "Resume the batch" in answer.json()["detail"]
    held.refresh_from_db()
    assert held.held_reason == "batch paused"


def test_a_paused_batch_sends_no_wave(operator_api: APIClient, organization: Organization):
    batch = made(operator_api, fleet(organization, 2))
    operator_api.post(f"{URL}/{batch['id']}/pause", {})

    batches_advance()
    assert not Command.objects.exists()
    operator_api.post(f"{URL}/{batch['id']}/resume", {})
    batches_advance()

    assert Command.objects.count() == 2


@pytest.mark.parametrize(("force", "left"), [(False, "delivered"), (True, "cancelled")])
def test_cancelling_takes_back_what_waits_and_with_force_everything(
    operator_api: APIClient, organization: Organization, force: bool, left: str
):
    batch = made(operator_api, fleet(organization, 4), waves=[{"size": 2}], wave_pause_s=60)
    batches_advance()
    first = Command.objects.order_by("pk")[0]
    hand_out(first)

    answer = operator_api.post(
        f"{URL}/{batch['id']}/cancel", {"reason": "wrong fleet", "force": force}
    )
    again = operator_api.post(f"{URL}/{batch['id']}/cancel", {})

    assert answer.json()["status"] == "cancelled"
    assert again.status_code == 409
    first.refresh_from_db()
    assert first.status == left
    other = Command.objects.exclude(pk=first.pk).get()
    assert (other.status, other.error_code) == ("cancelled", "batch_cancelled")
    assert "wrong fleet" in other.error
    assert answer.json()["progress"]["by_status"]["skipped"] == 2
    batches_advance()
    assert Command.objects.count() == 2


def test_failures_are_grouped_by_reason_with_examples(
    operator_api: APIClient, organization: Organization
):
    batch = made(operator_api, fleet(organization, 4))
    batches_advance()
    for status, error, code in [
        ("failed", "disk full: 12 MB left", "disk"),
        ("failed", "disk full: 7 MB left", "disk"),
        ("rejected", "not on the list", ""),
    ]:
        finish(status, 1, error=error, error_code=code)

    failures = read(operator_api, batch)["failures"]

    assert [(one["count"], one["status"], one["error_code"]) for one in failures] == [
        (2, "failed", "disk"),
        (1, "rejected", ""),
    ]
    assert failures[0]["error"].startswith("disk full")
    assert len(failures[0]["devices"]) == 2


def test_the_failed_ones_get_another_batch(operator_api: APIClient, organization: Organization):
    waves = [{"percent": 50}]
    batch = made(operator_api, fleet(organization, 6), waves=waves, type="reboot",
                 payload={"delay_seconds": 1}, options={"priority": 7})  # fmt: skip
    batches_advance()
    for status in ("failed", "timed_out", "expired", "rejected", "succeeded"):
        finish(status, 1)
    bad = Command.objects.filter(status__in=["failed", "timed_out", "expired"])
    wanted = set(bad.values_list("device_id", flat=True))

    answer = operator_api.post(f"{URL}/{batch['id']}/retry-failed", {})
    batches_advance()

    again = answer.json()
    assert (answer.status_code, again["retry_of"], again["total"]) == (201, batch["id"], 3)
    assert (again["waves"], again["payload"]) == (waves, {"delay_seconds": 1})
    commands = Command.objects.filter(batch=again["id"])
    assert set(commands.values_list("device_id", flat=True)) == wanted
    assert {command.priority for command in commands} == {7}


def test_without_failures_there_is_nothing_to_try_again(
    operator_api: APIClient, organization: Organization
):
    batch = made(operator_api, fleet(organization, 1))

    answer = operator_api.post(f"{URL}/{batch['id']}/retry-failed", {})

    assert (answer.status_code, answer.json()["code"]) == (422, "batch_empty")


# --- approval ---


@pytest.fixture
def careful(organization: Organization) -> Organization:
    organization.batch_approval_above = 2
    organization.save()
    return organization


def test_a_small_batch_needs_nobody_else(careful: Organization, operator_api: APIClient):
    assert made(operator_api, fleet(careful, 2))["status"] == "scheduled"


def test_a_large_batch_waits_for_a_second_person(careful: Organization, operator_api: APIClient):
    batch = made(operator_api, fleet(careful, 3))
    url = f"{URL}/{batch['id']}/approve"
    batches_advance()
    assert (batch["status"], batch["approval_needed"]) == ("awaiting_approval", True)
    assert not Command.objects.exists()

    own = operator_api.post(url, {"reason": "mine"})
    key = APIClient(headers={"X-API-Key": api_key(careful, Role.ADMIN)[1]})
    by_key = key.post(url, {"reason": "robot"}, format="json")
    viewer = api_of(member(careful, Role.VIEWER)).post(url, {"reason": "x"})
    second = api_of(member(careful, Role.OPERATOR))
    wordless = second.post(url, {"reason": " "})
    answer = second.post(url, {"reason": "checked the list"})
    batches_advance()

    assert [one.status_code for one in (own, by_key, viewer)] == [403, 403, 403]
    assert own.json()["code"] == "approval_refused"
    assert wordless.status_code in (400, 422)
    assert (answer.status_code, answer.json()["status"]) == (200, "scheduled")
    assert Command.objects.count() == 3
    entry = AuditEntry.objects.get(action="batch.approve")
    assert entry.after["reason"] == "checked the list"
    assert second.post(url, {"reason": "again"}).status_code == 409


def test_what_a_key_made_is_approved_by_any_person(careful: Organization, operator: Principal):
    key = APIClient(headers={"X-API-Key": api_key(careful, Role.OPERATOR)[1]})
    key.default_format = "json"
    batch = made(key, fleet(careful, 3))

    answer = api_of(operator).post(f"{URL}/{batch['id']}/approve", {"reason": "fine"})

    assert answer.json()["status"] == "scheduled"


def test_an_admin_sets_above_which_size_a_second_person_is_needed(
    admin_api: APIClient, organization: Organization
):
    answer = admin_api.patch(
        f"/api/v1/organizations/{organization.slug}", {"batch_approval_above": 1}
    )
    organization.refresh_from_db()

    assert (answer.status_code, organization.batch_approval_above) == (200, 1)
    operator_api = api_of(member(organization, Role.OPERATOR))
    assert made(operator_api, fleet(organization, 2))["status"] == "awaiting_approval"

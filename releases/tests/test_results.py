"""What a device may say of an update, in which order, how often, and in whose words."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from audit.models import AuditEntry
from common import clock
from devices.models import Device, DeviceEvent, DeviceRecovery
from releases.models import DeviceUpdate, UpdateEvent
from releases.tests.factories import update_of
from releases.tests.updating import (
    RESULTS,
    api_as,
    device_of,
    release_of,
    rollout_of,
    said,
    updating,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def update(device: Device) -> DeviceUpdate:
    release = release_of(device.organization, "2.0.0")
    return updating(device, rollout_of(release), status="offered", deadline_at=clock.now())


def test_an_update_goes_step_by_step_from_the_offer_to_the_claim(
    device_api: APIClient, update: DeviceUpdate
):
    for status, step in [
        ("downloading", "fetch"),
        ("downloading", "check"),
        ("installing", "switch"),
        ("awaiting_confirmation", ""),
        ("claimed", ""),
    ]:
        answer = said(device_api, update, status, step=step, timings={step or status: 1.2345})
        assert answer.status_code == 200
        assert answer.json() == {"update_id": update.pk, "status": status, "accepted": True}

    update.refresh_from_db()
    assert update.timings == {
        "fetch": 1.234,
        "check": 1.234,
        "switch": 1.234,
        "awaiting_confirmation": 1.234,
        "claimed": 1.234,
    }
    trail = UpdateEvent.objects.filter(update=update).order_by("pk")
    assert [one.to_status for one in trail] == [
        *("offered", "downloading", "downloading", "installing"),
        *("awaiting_confirmation", "claimed"),
    ]
    assert update.claimed_at is not None
    assert update.finished_at is None
    assert AuditEntry.objects.filter(action="update.claimed", target_id=update.pk).count() == 1


@pytest.mark.parametrize("status", ["claimed", "failed", "rolled_back"])
def test_the_same_report_twice_is_accepted_and_counted_once(
    device: Device, device_api: APIClient, update: DeviceUpdate, status: str
):
    for _ in range(2):
        assert said(device_api, update, status, error="no").status_code == 200

    assert AuditEntry.objects.filter(action=f"update.{status}").count() == 1
    failures = DeviceRecovery.objects.filter(device=device).values_list("failures", flat=True)
    assert list(failures) == ([] if status == "claimed" else [1])


def test_a_claim_told_again_after_its_proof_is_accepted(
    device_api: APIClient, update: DeviceUpdate
):
    said(device_api, update, "claimed")
    DeviceUpdate.objects.update(status="verified", finished_at=clock.now())

    assert said(device_api, update, "claimed").json()["status"] == "verified"


@pytest.mark.parametrize(
    ("present", "wanted"),
    [
        ("installing", "downloading"),
        ("claimed", "installing"),
        ("failed", "claimed"),
        ("cancelled", "downloading"),
        ("rolled_back", "failed"),
    ],
)
def test_a_step_that_is_not_allowed_any_more_is_refused_with_the_present_state(
    device_api: APIClient, update: DeviceUpdate, present: str, wanted: str
):
    now = clock.now()
    ended = {"finished_at": now} if present in ("failed", "cancelled", "rolled_back") else {}
    claimed = {"claimed_at": now} if present == "claimed" else {}
    if present in ("claimed", "rolled_back"):
        DeviceUpdate.objects.filter(pk=update.pk).update(status="installing")
    DeviceUpdate.objects.filter(pk=update.pk).update(status=present, **ended, **claimed)

    answer = said(device_api, update, wanted)

    assert (answer.status_code, answer.json()["code"]) == (409, "update_state")
    assert answer.json()["update_status"] == present


def test_reports_that_were_lost_do_not_make_the_next_one_wrong(
    device_api: APIClient, update: DeviceUpdate
):
    assert said(device_api, update, "awaiting_confirmation").status_code == 200


def test_a_failure_is_written_into_history_log_and_recovery(
    device: Device, device_api: APIClient, update: DeviceUpdate
):
    said(device_api, update, "failed", failure_class="space", error="3 MB left", error_code="E1")

    update.refresh_from_db()
    assert (update.failure_class, update.error, update.error_code) == ("space", "3 MB left", "E1")
    event = DeviceEvent.objects.get(device=device, kind="update_failed")
    assert "3 MB left" in event.message
    assert DeviceRecovery.objects.get(device=device).failures == 1


def test_what_a_device_did_not_believe_is_an_error_with_its_code_wherever_one_looks(
    device: Device, device_api: APIClient, viewer_api: APIClient, update: DeviceUpdate
):
    words = "The portal went back to something older: timestamp.json is refused."
    said(
        *(device_api, update, "failed"),
        failure_class="verification",
        error_code="rollback",
        error=words,
    )

    event = DeviceEvent.objects.get(device=device, kind="update_failed")
    assert (event.severity, event.details["error_code"]) == ("error", "rollback")
    assert words in event.message
    entry = AuditEntry.objects.get(action="update.failed")
    assert (entry.after["failure_class"], entry.after["error_code"]) == ("verification", "rollback")
    [row] = viewer_api.get(f"/api/v1/devices/{device.device_id}/updates").json()["results"]
    assert (row["error_code"], row["error"]) == ("rollback", words)
    [failure] = viewer_api.get(f"/api/v1/rollouts/{update.rollout_id}").json()["failures"]
    assert (failure["failure_class"], failure["error_code"]) == ("verification", "rollback")


@pytest.mark.parametrize("failure_class", ["network", "refused", "verification"])
def test_a_network_an_owner_or_a_lying_portal_brings_nobody_into_safe_mode(
    device: Device, device_api: APIClient, update: DeviceUpdate, failure_class: str
):
    said(device_api, update, "failed", failure_class=failure_class)

    assert not DeviceRecovery.objects.filter(device=device).exists()


@pytest.mark.parametrize(
    ("said_of_health", "failure_class"), [(False, "health"), (None, "install"), (True, "install")]
)
def test_a_failure_without_a_class_is_told_by_its_health_check(
    device_api: APIClient, update: DeviceUpdate, said_of_health: bool | None, failure_class: str
):
    said(device_api, update, "rolled_back", health_check_passed=said_of_health)

    update.refresh_from_db()
    assert update.failure_class == failure_class


def test_a_claim_that_contradicts_itself_is_a_false_success(
    device: Device, device_api: APIClient, update: DeviceUpdate
):
    answer = said(device_api, update, "claimed", running_version="0.9.0")

    assert answer.json()["status"] == "failed"
    update.refresh_from_db()
    assert update.failure_class == "false_success"
    assert DeviceEvent.objects.filter(device=device, kind="false_success").count() == 1


def test_no_report_is_lost_for_its_words(device_api: APIClient, update: DeviceUpdate):
    answer = said(
        device_api,
        update,
        "failed",
        error="tail\x07\x1b[31m" + "x" * 9000,
        step=None,
        timings={"a": "soon", "b": True, "c": -1, "d": float(2**40), "e": 2},
    )

    assert answer.status_code == 200
    update.refresh_from_db()
    assert update.error.startswith("tail\ufffd\ufffd[31mx")
    assert len(update.error) == 4096
    assert update.timings == {"e": 2}


def test_a_device_reports_on_its_own_updates_only(update: DeviceUpdate, other_organization: Any):
    neighbour = device_of(update.organization)
    foreigner = device_of(other_organization)
    own = update_of(neighbour, update.release, status="offered")

    for client in (api_as(neighbour), api_as(foreigner)):
        assert said(client, update, "failed").status_code == 404
    assert said(api_as(neighbour), own, "downloading").status_code == 200
    update.refresh_from_db()
    assert update.status == "offered"


def test_people_report_nothing(update: DeviceUpdate, admin_api: APIClient, stranger_api: APIClient):
    assert said(admin_api, update, "claimed").status_code == 403
    assert said(stranger_api, update, "claimed").status_code == 403


# --- agents of other makes ---


def test_a_report_by_commit_belongs_to_the_open_update(device_api: APIClient, update: DeviceUpdate):
    answer = device_api.post(
        RESULTS,
        {
            "from_commit_hash": "f" * 40,
            "to_commit_hash": update.to_commit[:12],
            "update_status": "success",
            "health_check_passed": True,
            "timing": {"swap": 1.5},
        },
    )

    assert answer.json() == {"update_id": update.pk, "status": "claimed", "accepted": True}
    update.refresh_from_db()
    assert (update.health_check_passed, update.timings) == (True, {"swap": 1.5})


@pytest.mark.parametrize(
    ("word", "status"),
    [("success", "claimed"), ("failed", "failed"), ("rolled_back", "rolled_back")],
)
def test_an_update_a_device_did_on_its_own_becomes_a_row(
    device: Device, device_api: APIClient, word: str, status: str
):
    report = {
        "from_commit_hash": "a" * 40,
        "to_commit_hash": "b" * 40,
        "update_status": word,
        "error_message": "why",
        "duration_seconds": 12,
    }

    first = device_api.post(RESULTS, report)
    again = device_api.post(RESULTS, report)

    assert first.status_code == 200
    assert first.json() == again.json()
    row = DeviceUpdate.objects.get(device=device)
    assert (row.kind, row.status, row.to_commit) == ("reported", status, "b" * 40)
    assert row.timings == {"total": 12}


def test_a_device_does_not_claim_something_else_while_an_update_is_open(
    device_api: APIClient, update: DeviceUpdate
):
    answer = device_api.post(RESULTS, {"status": "claimed", "to_version": "9"})

    assert (answer.status_code, answer.json()["update_status"]) == (409, "offered")


def test_a_step_of_an_unnamed_update_is_refused(device_api: APIClient):
    assert device_api.post(RESULTS, {"status": "installing"}).status_code == 422

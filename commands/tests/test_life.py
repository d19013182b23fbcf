import gzip
import hashlib
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from audit.models import AuditEntry
from commands.models import ENDED, OPEN, TRANSITIONS, Command, SupportBundle
from commands.tests.factories import CommandFactory, deliver
from common import clock, limits
from devices.models import DeviceEvent
from devices.tests.factories import DeviceFactory

SECOND = timedelta(seconds=1)


@pytest.fixture
def now(db):
    return clock.now()


@pytest.fixture
def handed_out(device, now):
    return deliver(CommandFactory(device=device, created_at=now))


def report(api, command, status, attempt=1, **fields):
    return api.patch(
        f"/api/v1/commands/{command.pk}", {"status": status, "attempt": attempt, **fields}
    )


def test_the_sets_of_states_cover_every_state():
    assert set(OPEN) | set(ENDED) == set(Command.Status.values)
    assert set(TRANSITIONS) == set(OPEN)


@pytest.mark.parametrize("old", Command.Status.values)
def test_the_database_holds_the_table_of_transitions(device, now, old):
    for new in Command.Status.values:
        command = CommandFactory(
            device=device,
            status=old,
            lease_expires_at=now,
            finished_at=now if old in ENDED else None,
        )
        allowed = new == old or new in TRANSITIONS.get(old, [])
        fields = {
            "status": new,
            "finished_at": now if new in ENDED else None,
            "run_deadline": now if new == "running" else None,
        }
        try:
            with transaction.atomic():
                Command.objects.filter(pk=command.pk).update(**fields)
            happened = True
        except IntegrityError:
            happened = False
        assert happened is allowed, f"{old} -> {new}"


def test_a_device_reports_on_its_command(device_api, handed_out):
    running = report(device_api, handed_out, "running")
    done = report(device_api, handed_out, "succeeded", result={"x": 1}, output="ok\n")

    assert (running.data["status"], done.data["status"]) == ("running", "succeeded")
    handed_out.refresh_from_db()
    assert (handed_out.result, handed_out.output) == ({"x": 1}, "ok\n")
    assert handed_out.started_at <= handed_out.finished_at
    actors = AuditEntry.objects.filter(target_id=str(handed_out.pk)).values_list(
        "action", "actor_type"
    )
    assert set(actors) == {("command.running", "device"), ("command.succeeded", "device")}
    assert DeviceEvent.objects.filter(kind="command", message="reboot succeeded").exists()


def test_the_same_report_twice_is_accepted_and_changes_nothing(device_api, handed_out):
    report(device_api, handed_out, "failed", error="no")
    handed_out.refresh_from_db()
    version = handed_out.version

    assert report(device_api, handed_out, "failed", error="no").status_code == 200

    handed_out.refresh_from_db()
    assert handed_out.version == version
    assert AuditEntry.objects.filter(action="command.failed").count() == 1


@pytest.mark.parametrize(("status", "attempt"), [("succeeded", 2), ("running", 2)])
def test_a_report_of_another_attempt_is_refused_with_the_state(
    device_api, handed_out, status, attempt
):
    answer = report(device_api, handed_out, status, attempt)

    assert (answer.status_code, answer.data["code"]) == (409, "transition_refused")
    assert (answer.data["command_status"], answer.data["attempt"]) == ("delivered", 1)


def test_a_different_end_is_refused(device_api, handed_out):
    report(device_api, handed_out, "succeeded")

    answer = report(device_api, handed_out, "failed")

    assert (answer.status_code, answer.data["command_status"]) == (409, "succeeded")


def test_a_command_nobody_was_handed_cannot_be_reported_on(device_api, device):
    command = CommandFactory(device=device)

    assert report(device_api, command, "succeeded").status_code == 409


def test_a_device_reports_only_on_its_own_commands(device_api, organization):
    other = CommandFactory(device=DeviceFactory(organization=organization))

    assert report(device_api, other, "running").status_code == 404


def test_people_do_not_report(admin_api, handed_out):
    assert report(admin_api, handed_out, "succeeded").status_code == 403


@pytest.mark.parametrize("status", ["queued", "delivered", "timed_out", "expired", "nonsense"])
def test_a_device_cannot_set_states_that_are_not_its_own(device_api, handed_out, status):
    assert report(device_api, handed_out, status).status_code == 422


@pytest.mark.parametrize(
    ("status", "value", "expected"),
    [("succeeded", "30", 30), ("failed", "30", None), ("succeeded", "1", None)],
)
def test_the_portal_adopts_the_pace_a_device_was_given(
    device_api, device, now, status, value, expected
):
    command = CommandFactory(
        device=device,
        kind="config",
        payload={"changes": {"HEARTBEAT_INTERVAL": value, "LOG_LEVEL": "DEBUG"}},
        status="running",
        attempt=1,
    )

    report(device_api, command, status)

    device.refresh_from_db()
    assert device.heartbeat_interval_s == expected


@pytest.fixture
def wanted(device, now):
    return CommandFactory(
        device=device, kind="bundle", status="delivered", attempt=1, lease_expires_at=now
    )


@pytest.fixture
def media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


def upload(api, command, body, **headers):
    return api.generic(
        "POST",
        f"/api/v1/commands/{command.pk}/bundle",
        body,
        content_type="application/gzip",
        headers=headers,
    )


def test_a_bundle_is_taken_once(device_api, wanted, media):
    body = gzip.compress(b"logs" * 1000)
    digest = hashlib.sha256(body).hexdigest()

    answer = upload(device_api, wanted, body, **{"X-Content-SHA256": digest})
    again = upload(device_api, wanted, body, **{"X-Content-SHA256": digest})

    assert (answer.status_code, answer.data["sha256"], answer.data["size"]) == (
        201,
        digest,
        len(body),
    )
    assert again.data["id"] == answer.data["id"]


def test_a_damaged_bundle_is_refused(device_api, wanted, media):
    answer = upload(device_api, wanted, b"data", **{"X-Content-SHA256": "0" * 64})

    assert (answer.status_code, answer.data["code"]) == (422, "bundle_refused")
    assert not SupportBundle.objects.exists()


def test_a_bundle_nobody_asked_for_is_refused(device_api, handed_out, media):
    assert upload(device_api, handed_out, b"data").status_code == 422


def test_a_bundle_over_the_cap_is_refused(device_api, wanted, media, monkeypatch):
    monkeypatch.setattr(limits, "BUNDLE_BYTES", 1000)

    answer = upload(device_api, wanted, b"x" * 1001)

    assert (answer.status_code, answer.data["code"]) == (413, "too_large")

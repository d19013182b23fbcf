"""Safe mode, quarantine and the way back, as operators and devices see them."""

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
from devices.models import Device, DeviceEvent, DeviceRecovery
from devices.services.groups import group_grant
from devices.services.recovery import quarantines_end, update_failures_forget
from devices.tasks import quarantines_end as quarantines_end_task
from devices.tests.factories import DeviceFactory, group_of
from releases.models import DeviceUpdate, Release
from releases.services.recovery import (
    recovery_failure_count,
    recovery_update_ended,
)
from releases.tasks import recoveries_settle
from releases.tests.factories import ArtifactFactory, ReleaseFactory, published, update_of

PATH = "/api/v1/recovery/studio-1"
CHECKS = [{"name": "disk", "passed": True}, {"name": "network", "passed": True}]


@pytest.fixture
def release(organization: Organization) -> Release:
    draft = ReleaseFactory(organization=organization, version="2.0.0", roles=["kiosk"])
    ArtifactFactory(release=draft)
    return published(draft)


def post(api: APIClient, path: str, **body: Any) -> Any:
    return api.post(f"{PATH}/{path}", body)


def read(api: APIClient) -> dict[str, Any]:
    body: dict[str, Any] = api.get(PATH).json()
    return body


def orders(device: Device) -> list[tuple[bool, str]]:
    """Return the safe mode commands of a device, oldest first: enter, and what became of it."""
    commands = Command.objects.filter(device=device, kind="safe_mode").order_by("sequence")
    return [(command.payload["enter"], command.status) for command in commands]


def end(update: DeviceUpdate, status: str) -> None:
    now = clock.now()
    DeviceUpdate.objects.filter(pk=update.pk).update(status="claimed", claimed_at=now)
    DeviceUpdate.objects.filter(pk=update.pk).update(status=status, finished_at=now)
    update.refresh_from_db()


# --- into safe mode ---


def test_an_operator_puts_a_device_into_safe_mode_and_it_is_told_once(
    operator_api: APIClient, device: Device, release: Release
):
    update = update_of(device, release, status="offered")
    Device.objects.filter(pk=device.pk).update(target_version="2.0.0")

    answer = post(operator_api, "enter", reason="the screen is black")
    again = post(operator_api, "enter", reason="still black")
    recoveries_settle()

    assert (answer.status_code, again.status_code) == (200, 200)
    body = read(operator_api)
    assert (body["safe_mode"], body["source"], body["confirmed_at"]) == (True, "operator", None)
    assert body["reason"] == "the screen is black"
    assert orders(device) == [(True, "queued")]
    update.refresh_from_db()
    device.refresh_from_db()
    assert (update.status, device.safe_mode, device.target_version) == ("cancelled", True, "0.9.0")
    assert AuditEntry.objects.filter(action="recovery.enter").count() == 1
    assert DeviceEvent.objects.filter(device=device, kind="recovery").count() == 1


def test_what_the_device_has_begun_runs_to_its_end(
    operator_api: APIClient, device: Device, release: Release
):
    update = update_of(device, release, status="installing")

    post(operator_api, "enter")

    update.refresh_from_db()
    assert update.status == "installing"


def test_a_device_that_goes_by_itself_has_confirmed_it_and_is_told_nothing(
    device_api: APIClient, operator_api: APIClient, device: Device
):
    assert post(device_api, "enter", reason="three crashes in a row").status_code == 200
    recoveries_settle()

    body = read(operator_api)
    assert (body["source"], body["entered_by"]) == ("agent", "studio-1")
    assert body["confirmed_at"]
    assert orders(device) == []


def test_a_full_queue_does_not_keep_a_device_out_of_safe_mode_and_it_is_told_later(
    operator_api: APIClient, device: Device
):
    CommandFactory.create_batch(limits.COMMANDS_PER_DEVICE, device=device, kind="ping")

    assert post(operator_api, "enter").json()["safe_mode"] is True
    assert orders(device) == []
    Command.objects.filter(kind="ping").update(status="cancelled", finished_at=clock.now())
    recoveries_settle()
    recoveries_settle()

    assert orders(device) == [(True, "queued")]


@pytest.mark.parametrize("lifecycle", ["pending", "retired"])
def test_a_device_that_does_not_work_goes_into_no_mode(
    operator_api: APIClient, device: Device, lifecycle: str
):
    retired = clock.now() if lifecycle == "retired" else None
    Device.objects.filter(pk=device.pk).update(lifecycle=lifecycle, retired_at=retired)

    for path in ("enter", "quarantine"):
        answer = post(operator_api, path, reason="it fails")
        assert (answer.status_code, answer.json()["code"]) == (409, "lifecycle_forbids")


# --- out of it ---


def test_an_operator_lets_a_device_out_and_what_said_the_contrary_is_taken_back(
    operator_api: APIClient, device: Device
):
    post(operator_api, "enter")
    DeviceRecovery.objects.update(failures=2)

    answer = post(operator_api, "exit", reason="the cable was loose")
    again = post(operator_api, "exit")

    assert (answer.status_code, again.status_code) == (200, 409)
    assert again.json()["code"] == "recovery_state"
    assert (answer.json()["safe_mode"], answer.json()["failures"]) == (False, 0)
    assert orders(device) == [(True, "cancelled"), (False, "queued")]


def test_a_device_that_was_told_to_leave_does_not_enter_again_by_old_news(
    operator_api: APIClient, device_api: APIClient, device: Device
):
    post(operator_api, "enter")
    post(operator_api, "exit")

    post(device_api, "diagnostics", safe_mode=True)
    assert read(operator_api)["safe_mode"] is False
    Command.objects.filter(status="queued").update(status="cancelled", finished_at=clock.now())
    post(device_api, "diagnostics", safe_mode=True)

    assert read(operator_api)["source"] == "agent"


# --- diagnostics ---


def test_diagnostics_confirm_what_the_portal_ordered(
    operator_api: APIClient, device_api: APIClient, device: Device
):
    post(operator_api, "enter")

    answer = post(device_api, "diagnostics", safe_mode=True, checks=CHECKS, disk={"free_gb": 3.5})

    assert answer.status_code == 200
    body = read(operator_api)
    assert (body["source"], body["checks_passed"]) == ("operator", True)
    assert body["confirmed_at"]
    assert body["diagnostics"]["disk"] == {"free_gb": 3.5}


def test_secrets_in_diagnostics_are_not_kept(
    operator_api: APIClient, device_api: APIClient, device: Device
):
    key = "AKIA" + "ABCDEFGHIJKLMNOP"
    post(
        device_api,
        "diagnostics",
        logs=["connecting", "password=hunter2hunter2", f"using {key}"],
        last_errors=f"first line\nAuthorization: Bearer {'abcd1234' * 4}",
        settings={"mqtt_password": "correct-horse-9", "port": 1883, "host": "broker"},
        env=[{"name": "API_TOKEN", "value": "zz-top-77"}, {"name": "TZ", "value": "UTC"}],
    )

    kept = DeviceRecovery.objects.get().diagnostics
    assert kept is not None
    text = str(kept)
    for secret in ("hunter2", key, "abcd1234", "correct-horse-9", "zz-top-77"):
        assert secret not in text
    assert kept["logs"][0] == "connecting"
    assert kept["settings"]["port"] == 1883
    assert kept["settings"]["host"] == "broker"
    assert kept["env"][1]["value"] == "UTC"


def test_too_much_of_a_log_is_refused(device_api: APIClient, device: Device):
    answer = post(device_api, "diagnostics", logs=["x" * 1000] * 300)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert "Send fewer lines" in answer.json()["detail"]


def test_entering_makes_earlier_checks_worth_nothing(
    operator_api: APIClient, device_api: APIClient, device: Device
):
    post(device_api, "diagnostics", checks=CHECKS)

    assert post(operator_api, "enter").json()["checks_passed"] is None


# --- failures in a row ---


def test_the_third_failure_in_a_row_puts_a_device_aside(
    operator_api: APIClient, device: Device, release: Release
):
    done = [
        recovery_failure_count(device=device, reason="health", now=clock.now())
        for _ in range(limits.UPDATE_FAILURES_MAX)
    ]

    assert done == [False, False, True]
    body = read(operator_api)
    assert (body["lifecycle"], body["safe_mode"]) == ("quarantined", True)
    assert (body["source"], body["failures"]) == ("automatic", 3)
    assert body["quarantined_until"]
    assert orders(device) == [(True, "queued")]
    device.refresh_from_db()
    assert device.update_enabled is True
    assert AuditEntry.objects.get(action="recovery.enter").actor_type == "system"


def test_an_update_that_works_makes_the_count_begin_again(operator_api: APIClient, device: Device):
    for _ in range(limits.UPDATE_FAILURES_MAX - 1):
        recovery_failure_count(device=device, reason="health", now=clock.now())
    update_failures_forget(devices=[device.pk])

    assert not recovery_failure_count(device=device, reason="health", now=clock.now())
    assert read(operator_api)["failures"] == 1


# --- quarantine ---


def test_quarantine_ends_by_time_and_safe_mode_stays(operator_api: APIClient, device: Device):
    post(operator_api, "enter")
    post(operator_api, "quarantine", minutes=10, reason="it fails")
    quarantines_end_task()
    assert read(operator_api)["lifecycle"] == "quarantined"

    later = clock.now() + timedelta(minutes=11)

    assert (quarantines_end(now=later), quarantines_end(now=later)) == (1, 0)
    body = read(operator_api)
    assert (body["lifecycle"], body["quarantined_until"]) == ("active", None)
    assert body["safe_mode"] is True
    assert AuditEntry.objects.filter(action="recovery.quarantine_end").count() == 1


def test_quarantine_is_prolonged_and_ended_early_with_a_reason(
    operator_api: APIClient, device: Device, release: Release
):
    update = update_of(device, release, status="scheduled")
    first = post(operator_api, "quarantine", minutes=10, reason="it fails").json()
    longer = post(operator_api, "quarantine", minutes=90, reason="it fails").json()
    silent = post(operator_api, "quarantine/end")
    ended = post(operator_api, "quarantine/end", reason="mended")
    again = post(operator_api, "quarantine/end", reason="mended")

    assert first["quarantined_until"] < longer["quarantined_until"]
    assert (silent.status_code, ended.status_code, again.status_code) == (422, 200, 409)
    assert ended.json()["lifecycle"] == "active"
    update.refresh_from_db()
    assert update.status == "cancelled"


# --- deploying again ---


def test_a_redeploy_waits_for_checks_that_passed(
    operator_api: APIClient, device_api: APIClient, device: Device, release: Release
):
    post(operator_api, "enter")
    unknown = post(operator_api, "redeploy", version="2.0.0")
    failed = [{"name": "disk", "passed": False, "detail": "full"}, CHECKS[1]]
    post(device_api, "diagnostics", safe_mode=True, checks=failed)
    refused = post(operator_api, "redeploy", version="2.0.0")
    post(device_api, "diagnostics", safe_mode=True, checks=CHECKS)
    taken = post(operator_api, "redeploy", version="2.0.0")

    assert (unknown.status_code, unknown.json()["code"]) == (409, "recovery_refused")
    assert "diagnostics" in unknown.json()["detail"]
    assert refused.json()["failed_checks"] == ["disk"]
    assert (taken.status_code, taken.json()["status"]) == (201, "scheduled")
    update = DeviceUpdate.objects.get()
    assert (update.kind, update.to_version, update.artifact is not None) == (
        "redeploy",
        "2.0.0",
        True,
    )
    device.refresh_from_db()
    assert device.target_version == "2.0.0"


def test_a_reason_goes_past_the_checks_and_is_in_the_log(
    operator_api: APIClient, device: Device, release: Release
):
    post(operator_api, "enter")

    answer = post(operator_api, "redeploy", release_id=str(release.pk), force_reason="seen by eye")

    assert answer.status_code == 201
    after = AuditEntry.objects.get(action="recovery.redeploy").after
    assert after is not None
    assert after["force_reason"] == "seen by eye"


def test_a_redeploy_that_is_verified_ends_safe_mode(
    operator_api: APIClient, device_api: APIClient, device: Device, release: Release
):
    post(operator_api, "enter")
    post(operator_api, "quarantine", reason="it fails")
    post(device_api, "diagnostics", checks=CHECKS)
    post(operator_api, "redeploy", version="2.0.0")
    assert (read(operator_api)["lifecycle"], read(operator_api)["safe_mode"]) == ("active", True)
    update = DeviceUpdate.objects.get()
    recoveries_settle()
    assert read(operator_api)["safe_mode"] is True
    end(update, "verified")

    recoveries_settle()
    recoveries_settle()

    body = read(operator_api)
    assert (body["safe_mode"], body["last_updates"][0]["status"]) == (False, "verified")
    assert orders(device)[-1] == (False, "queued")
    assert not recovery_update_ended(update=update, now=clock.now())


def test_a_redeploy_that_failed_ends_nothing(
    operator_api: APIClient, device: Device, release: Release
):
    post(operator_api, "enter")
    post(operator_api, "redeploy", version="2.0.0", force_reason="try")
    update = DeviceUpdate.objects.get()
    end(update, "failed")

    assert not recovery_update_ended(update=update, now=clock.now())
    recoveries_settle()
    assert read(operator_api)["safe_mode"] is True


def test_an_old_redeploy_does_not_end_a_new_safe_mode(
    operator_api: APIClient, device: Device, release: Release
):
    before = clock.now() - timedelta(hours=1)
    end(update_of(device, release, kind="redeploy", scheduled_at=before), "verified")
    post(operator_api, "enter")

    recoveries_settle()

    assert read(operator_api)["safe_mode"] is True


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "has not failed"),
        ({"safe_mode": True, "role": "wall"}, "release of its role"),
        ({"safe_mode": True, "version_lock": "1.0.0"}, "locked to 1.0.0"),
    ],
)
def test_a_redeploy_is_refused_with_what_to_do(
    operator_api: APIClient,
    device: Device,
    release: Release,
    fields: dict[str, Any],
    says: str,
):
    Device.objects.filter(pk=device.pk).update(**fields)

    answer = post(operator_api, "redeploy", version="2.0.0", force_reason="try")

    assert (answer.status_code, answer.json()["code"]) == (409, "recovery_refused")
    assert says in answer.json()["detail"]
    assert not DeviceUpdate.objects.exists()


def test_a_device_that_installs_is_not_disturbed_by_a_redeploy(
    operator_api: APIClient, device: Device, release: Release
):
    update_of(device, release, status="installing")
    post(operator_api, "enter")

    answer = post(operator_api, "redeploy", version="2.0.0", force_reason="try")

    assert (answer.status_code, answer.json()["code"]) == (409, "update_state")
    assert answer.json()["update_status"] == "installing"


def test_a_redeploy_names_one_release(operator_api: APIClient, device: Device, release: Release):
    both = post(operator_api, "redeploy", version="2.0.0", release_id=str(release.pk))
    unknown = post(operator_api, "redeploy", version="9.9.9")

    assert (both.status_code, post(operator_api, "redeploy").status_code) == (422, 422)
    assert unknown.status_code == 404


def test_a_device_whose_last_update_failed_may_be_deployed_again(
    operator_api: APIClient, device_api: APIClient, device: Device, release: Release
):
    end(update_of(device, release), "failed")
    post(device_api, "diagnostics", checks=CHECKS)

    assert post(operator_api, "redeploy", version="2.0.0").status_code == 201


# --- who sees it ---


def test_a_stranger_finds_no_device_and_a_viewer_changes_nothing(
    stranger_api: APIClient, viewer_api: APIClient, device: Device
):
    acts = ["enter", "exit", "redeploy", "quarantine", "quarantine/end"]

    assert stranger_api.get(PATH).status_code == 404
    assert viewer_api.get(PATH).json()["safe_mode"] is False
    for act in acts:
        assert post(stranger_api, act, reason="x", version="1").status_code == 404
        assert post(viewer_api, act, reason="x", version="1").status_code == 403


def test_a_device_reaches_itself_only(
    device_api: APIClient, device: Device, organization: Organization
):
    DeviceFactory(organization=organization, device_id="neighbour")

    for path in ("enter", "diagnostics"):
        assert device_api.post(f"/api/v1/recovery/neighbour/{path}", {}).status_code == 404
    assert device_api.get("/api/v1/recovery/neighbour").status_code == 404
    assert device_api.get(PATH).status_code == 200
    assert post(device_api, "exit").status_code == 403


def test_a_limited_person_reaches_devices_of_granted_groups(
    organization: Organization, admin: Any, device: Device
):
    limited = member(organization, Role.OPERATOR, limited_to_groups=True)
    api = api_of(limited)
    assert post(api, "enter").status_code == 404

    group = group_of(organization, device)
    group_grant(group=group, user=limited.user, actor=admin)

    assert post(api, "enter").status_code == 200

"""A claim and the way back: what ends a claim before its proof, and what a claimed redeploy is."""

from datetime import timedelta

import pytest
from rest_framework.test import APIClient

from audit.models import AuditEntry
from commands.models import Command
from commands.tests.factories import CommandFactory
from common import clock, limits
from devices.models import Device, DeviceRecovery
from releases.models import DeviceUpdate, Release
from releases.services.guardrails import ends_of
from releases.services.verification import updates_time_out, updates_verify
from releases.tasks import recoveries_settle
from releases.tests.factories import ArtifactFactory, ReleaseFactory, published, update_of
from releases.tests.test_recovery import CHECKS, end, orders, post, read
from releases.tests.trust import release_of
from releases.tests.updating import heard, rollout_of, said, updating


@pytest.fixture
def release(device: Device) -> Release:
    draft = ReleaseFactory(organization=device.organization, version="2.0.0", roles=["kiosk"])
    ArtifactFactory(release=draft)
    return published(draft)


@pytest.mark.parametrize(
    ("health", "version", "failure"),
    [
        ("degraded", "1.9.0", "health"),
        ("healthy", "1.9.0", "interrupted"),
        ("healthy", "0.9.0", "false_success"),
    ],
)
def test_a_claim_does_not_keep_a_redeploy_away_and_counts_as_what_was_seen_of_it(
    operator_api: APIClient,
    device: Device,
    release: Release,
    health: str,
    version: str,
    failure: str,
):
    ill = release_of(device.organization, "1.9.0", counter=9)
    claimed = updating(
        device, rollout_of(ill), status="claimed", claimed_at=clock.now() - timedelta(minutes=5)
    )
    heard(device, at=clock.now(), version=version, health=health)
    DeviceRecovery.objects.create(
        device=device, organization_id=device.organization_id, failures=1, checks_passed=True
    )

    answer = post(operator_api, "redeploy", version="2.0.0")

    assert answer.status_code == 201
    claimed.refresh_from_db()
    assert (claimed.status, claimed.failure_class) == ("failed", failure)
    assert claimed.error == "Not proved yet when 2.0.0 is deployed again."
    # The rollout counts it, and does not come back to the device.
    assert claimed.rollout is not None
    assert ends_of(claimed.rollout).failed == {failure: 1}
    gates = operator_api.get(f"/api/v1/releases/1.9.0/eligibility/{device.device_id}").json()
    assert "tried" in [gate["gate"] for gate in gates["gates"] if not gate["passed"]]
    assert AuditEntry.objects.filter(action="update.failed").count() == 1


def leaving(operator_api: APIClient, device: Device) -> DeviceUpdate:
    """Let a device in safe mode claim its redeploy, a while ago."""
    post(operator_api, "enter", reason="the screen is black")
    Command.objects.filter(kind="safe_mode").update(status="cancelled", finished_at=clock.now())
    post(operator_api, "redeploy", version="2.0.0", force_reason="try")
    update = DeviceUpdate.objects.get()
    now = clock.now()
    DeviceUpdate.objects.filter(pk=update.pk).update(
        status="claimed", claimed_at=now, deadline_at=now + timedelta(minutes=30)
    )
    update.refresh_from_db()
    return update


def test_a_device_that_leaves_safe_mode_is_shown_so_until_it_is_proved(
    operator_api: APIClient, device_api: APIClient, device: Device, release: Release
):
    update = leaving(operator_api, device)

    body = read(operator_api)
    assert body["safe_mode"] is True
    shown = body["leaving"]
    assert (shown["update_id"], shown["version"]) == (update.pk, "2.0.0")
    assert shown["claimed_at"] < shown["deadline_at"]
    post(device_api, "diagnostics", safe_mode=True, leaving=True, checks=CHECKS)
    assert read(operator_api)["leaving"] == shown

    end(update, "verified")
    recoveries_settle()
    body = read(operator_api)
    assert (body["safe_mode"], body["leaving"]) == (False, None)


@pytest.mark.parametrize("how", ["false_success", "never_healthy", "contradicts_itself"])
def test_a_redeploy_that_does_not_hold_leads_back_into_safe_mode_and_quarantine(
    operator_api: APIClient, device_api: APIClient, device: Device, release: Release, how: str
):
    Device.objects.update(heartbeat_interval_s=30)
    update = leaving(operator_api, device)
    now = clock.now()
    if how == "contradicts_itself":
        DeviceUpdate.objects.filter(pk=update.pk).delete()
        post(operator_api, "redeploy", version="2.0.0", force_reason="try")
        update = DeviceUpdate.objects.get()
        device_api.get("/api/v1/devices/studio-1/update")
        said(device_api, update, "installing")
        said(device_api, update, "claimed", running_version="0.9.0")
    elif how == "false_success":
        heard(device, at=now + timedelta(minutes=1), version="0.9.0")
        updates_verify(now=now + timedelta(minutes=1))
    else:
        heard(device, at=now + timedelta(minutes=29), version="2.0.0", health="degraded")
        updates_verify(now=now + timedelta(minutes=31))
        updates_time_out(now=now + timedelta(minutes=31))

    update.refresh_from_db()
    assert update.status == "failed"
    body = read(operator_api)
    assert (body["safe_mode"], body["leaving"], body["lifecycle"]) == (True, None, "quarantined")
    assert (body["source"], body["confirmed_at"]) == ("automatic", None)
    assert body["reason"].startswith("Redeploy of 2.0.0 did not hold")
    assert orders(device)[-1] == (True, "queued")
    # It runs what safe mode runs again, and says so.
    post(device_api, "diagnostics", safe_mode=True, leaving=False, checks=CHECKS)
    assert read(operator_api)["confirmed_at"]


def test_a_device_that_goes_back_by_itself_ends_its_redeploy(
    operator_api: APIClient, device_api: APIClient, device: Device, release: Release
):
    update = leaving(operator_api, device)
    DeviceRecovery.objects.update(confirmed_at=clock.now())

    post(device_api, "diagnostics", safe_mode=True, leaving=False, reason="no start in 3 tries")
    post(device_api, "diagnostics", safe_mode=True, leaving=False, reason="no start in 3 tries")

    update.refresh_from_db()
    assert (update.status, update.failure_class) == ("failed", "health")
    body = read(operator_api)
    assert (body["source"], body["reason"]) == ("agent", "no start in 3 tries")
    assert body["confirmed_at"]
    assert len(orders(device)) == 1


def test_an_operator_can_send_a_leaving_device_back_into_safe_mode(
    operator_api: APIClient, device: Device, release: Release
):
    update = leaving(operator_api, device)

    body = post(operator_api, "enter", reason="still black").json()

    update.refresh_from_db()
    assert (update.status, body["leaving"], body["reason"]) == ("failed", None, "still black")
    assert orders(device) == [(True, "cancelled"), (True, "queued")]


def test_in_safe_mode_nothing_is_proved_but_a_redeploy(
    operator_api: APIClient, device: Device, release: Release
):
    update = update_of(device, release, status="installing", verify_minutes=0)
    post(operator_api, "enter")
    now = clock.now()
    DeviceUpdate.objects.filter(pk=update.pk).update(
        status="claimed", claimed_at=now, deadline_at=now + timedelta(minutes=5)
    )
    heard(device, at=now + timedelta(minutes=1), version="2.0.0")
    updates_verify(now=now + timedelta(minutes=1))
    update.refresh_from_db()
    assert update.status == "claimed"

    heard(device, at=now + timedelta(minutes=5), version="2.0.0")
    updates_time_out(now=now + timedelta(minutes=6))
    update.refresh_from_db()
    assert (update.status, update.failure_class) == ("failed", "health")
    assert "safe mode" in update.error


def test_a_device_that_could_not_be_told_that_it_is_out_is_told_later(
    operator_api: APIClient, device: Device
):
    post(operator_api, "enter")
    Command.objects.update(status="cancelled", finished_at=clock.now())
    CommandFactory.create_batch(limits.COMMANDS_PER_DEVICE, device=device, kind="ping")
    post(operator_api, "exit")
    recoveries_settle()
    assert orders(device) == [(True, "cancelled")]

    Command.objects.filter(kind="ping").update(status="cancelled", finished_at=clock.now())
    recoveries_settle()
    recoveries_settle()

    assert orders(device) == [(True, "cancelled"), (False, "queued")]


def test_a_redeploy_that_is_claimed_can_be_overtaken_by_another(
    operator_api: APIClient, device_api: APIClient, device: Device, release: Release
):
    first = leaving(operator_api, device)
    other = release_of(device.organization, "2.1.0", counter=2)

    answer = post(operator_api, "redeploy", version=other.version, force_reason="still black")

    assert answer.status_code == 201
    first.refresh_from_db()
    body = read(operator_api)
    assert (first.status, body["safe_mode"], body["leaving"]) == ("failed", True, None)
    assert body["lifecycle"] == "active"

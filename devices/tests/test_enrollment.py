import hashlib
from datetime import timedelta

import pytest
from rest_framework.test import APIClient

from accounts.tests.factories import api_key
from audit.models import AuditEntry
from common import clock
from common.ids import secret_token
from devices.models import Device, DeviceEvent, DeviceState, DeviceToken, EnrollmentToken
from devices.services import enrollment
from devices.tests.factories import DeviceFactory, group_of, token_of

URL = "/api/v1/devices/register"
BODY = {"device_id": "r58-studio-001", "name": "Studio Main", "platform": "linux", "arch": "arm64"}


@pytest.fixture
def enrollment_secret(organization):
    return issue(organization)


def issue(organization, max_uses=1, ttl=timedelta(hours=1), **fields):
    _, secret = enrollment.enrollment_token_issue(
        organization=organization,
        name="batch 1",
        ttl=ttl,
        max_uses=max_uses,
        actor=None,
        now=clock.now(),
        **fields,
    )
    return secret


def register(headers=None, **body):
    return APIClient(headers=headers or {}).post(URL, {**BODY, **body}, format="json")


def test_a_device_enrols_with_an_enrolment_token(enrollment_secret, organization):
    answer = register(enrollment_token=enrollment_secret)

    assert answer.status_code == 201
    assert set(answer.data) == {"device_id", "token", "fleet_url", "lifecycle", "config"}
    assert len(bytes.fromhex(answer.data["token"])) == 32
    assert (answer.data["lifecycle"], answer.data["config"]["heartbeat_interval_s"]) == (
        "active",
        60,
    )
    device = Device.objects.get(device_id="r58-studio-001", organization=organization)
    assert DeviceState.objects.get(device=device).health == "unknown"
    assert DeviceEvent.objects.filter(device=device, kind="registration").exists()
    config = APIClient(headers={"X-Device-Token": answer.data["token"]}).get(
        f"/api/v1/devices/{device.device_id}/config"
    )
    assert config.status_code == 200


@pytest.mark.parametrize("case", ["made up", "used up", "expired", "revoked"])
def test_no_other_enrolment_token_lets_a_device_in(organization, case):
    secret = issue(organization)
    token = EnrollmentToken.objects.get()
    if case == "made up":
        secret = "et_" + "0" * 64
    elif case == "used up":
        register(enrollment_token=secret, device_id="first")
    elif case == "expired":
        EnrollmentToken.objects.update(expires_at=clock.now())
    else:
        enrollment.enrollment_token_revoke(token=token, actor=None, now=clock.now())

    answer = register(enrollment_token=secret)

    assert (answer.status_code, answer.data["code"]) == (403, "enrollment_refused")
    assert not Device.objects.filter(device_id="r58-studio-001").exists()


def test_an_existing_id_is_never_taken_over(enrollment_secret, organization):
    device = DeviceFactory(organization=organization, device_id="r58-studio-001")

    answer = register(enrollment_token=enrollment_secret)

    assert (answer.status_code, answer.data["code"]) == (409, "device_exists")
    assert not DeviceToken.objects.filter(device=device).exists()
    assert EnrollmentToken.objects.get().uses == 0


def test_the_same_id_may_exist_in_another_organisation(enrollment_secret, other_organization):
    DeviceFactory(organization=other_organization, device_id="r58-studio-001")

    assert register(enrollment_token=enrollment_secret).status_code == 201


def test_a_device_that_proves_itself_describes_itself_anew_and_gets_no_token(organization):
    device = DeviceFactory(organization=organization, device_id="r58-studio-001", role="kiosk")
    secret = token_of(device)

    answer = register(headers={"X-Device-Token": secret}, hostname="new-host", role="admin")

    assert (answer.status_code, answer.data["token"]) == (200, None)
    device.refresh_from_db()
    assert (device.hostname, device.role) == ("new-host", "kiosk")


def test_another_devices_token_proves_nothing(organization, enrollment_secret):
    DeviceFactory(organization=organization, device_id="r58-studio-001")
    other = token_of(DeviceFactory(organization=organization))

    answer = register(headers={"X-Device-Token": other}, enrollment_token=enrollment_secret)

    assert answer.status_code == 409


def test_an_admin_key_registers_and_updates(organization):
    _, secret = api_key(organization, "admin")

    first = register(headers={"X-API-Key": secret})
    second = register(headers={"X-API-Key": secret}, hostname="renamed")

    assert (first.status_code, second.status_code) == (201, 200)
    assert (len(first.data["token"]), second.data["token"]) == (64, None)


def test_an_operator_key_does_not_register(organization):
    _, secret = api_key(organization, "operator")

    assert register(headers={"X-API-Key": secret}).status_code == 403


def test_a_lost_answer_can_be_asked_for_again(enrollment_secret):
    token = secret_token()
    digest = hashlib.sha256(token.encode()).hexdigest()

    first = register(enrollment_token=enrollment_secret, token_sha256=digest)
    again = register(
        headers={"X-Device-Token": token}, enrollment_token=enrollment_secret, token_sha256=digest
    )

    assert (first.status_code, first.data["token"]) == (201, None)
    assert again.status_code == 200


def test_without_a_credential_nobody_gets_in(organization):
    answer = register()

    assert (answer.status_code, answer.data["code"]) == (403, "enrollment_refused")


def test_a_device_may_knock_where_that_is_allowed_and_waits(organization, operator_api):
    organization.allow_self_enrollment = True
    organization.save()

    answer = register(organization="acme")

    assert (answer.status_code, answer.data["lifecycle"]) == (201, "pending")
    assert register(organization="acme").status_code == 409
    refused = operator_api.post(
        "/api/v1/devices/r58-studio-001/commands", {"type": "reboot", "payload": {}}
    )
    assert (refused.status_code, refused.data["code"]) == (409, "device_not_commandable")
    accepted = operator_api.post("/api/v1/devices/r58-studio-001/accept")
    assert (accepted.status_code, accepted.data["lifecycle"]) == (200, "active")
    assert operator_api.post("/api/v1/devices/r58-studio-001/accept").status_code == 409


def test_a_rejected_device_cannot_knock_again(organization, operator_api):
    organization.allow_self_enrollment = True
    organization.save()
    token = register(organization="acme").data["token"]

    operator_api.post("/api/v1/devices/r58-studio-001/reject", {"reason": "not ours"})

    config = APIClient(headers={"X-Device-Token": token}).get(
        "/api/v1/devices/r58-studio-001/config"
    )
    assert config.status_code == 401
    assert register(organization="acme").status_code == 409
    assert AuditEntry.objects.get(action="device.reject").after["reason"] == "not ours"


def test_a_retired_device_comes_back_with_an_enrolment_token_and_its_history(
    enrollment_secret, organization, admin_api
):
    device = DeviceFactory(organization=organization, device_id="r58-studio-001")
    old = token_of(device)
    assert admin_api.delete("/api/v1/devices/r58-studio-001").status_code == 204

    answer = register(enrollment_token=enrollment_secret)

    assert answer.status_code == 201
    device.refresh_from_db()
    assert device.lifecycle == "active"
    old_client = APIClient(headers={"X-Device-Token": old})
    assert old_client.get("/api/v1/devices/r58-studio-001/config").status_code == 401


def test_devices_join_the_group_of_the_token(organization):
    group = group_of(organization, name="stage")
    secret = issue(organization, group=group)

    register(enrollment_token=secret)

    assert list(group.devices.values_list("device_id", flat=True)) == ["r58-studio-001"]


def test_an_enrolment_token_is_issued_and_shown_once(admin_api):
    answer = admin_api.post(
        "/api/v1/enrollment-tokens", {"name": "studio", "expires_in_s": 600, "max_uses": 5}
    )

    assert answer.status_code == 201
    assert answer.data["token"].startswith("et_")
    listed = admin_api.get("/api/v1/enrollment-tokens").data["results"][0]
    assert "token" not in listed
    assert listed["max_uses"] == 5


def test_seed_names_of_segments_are_understood(enrollment_secret):
    register(enrollment_token=enrollment_secret, segment="beta")

    assert Device.objects.get().segment == "early"


@pytest.mark.parametrize(
    "body",
    [
        {"device_id": "../etc"},
        {"device_id": ""},
        {"device_id": "a" * 65},
        {"ip_address": "not an address"},
        {"metadata": "text"},
        {"token_sha256": "abc"},
    ],
)
def test_what_does_not_fit_is_named(enrollment_secret, body):
    answer = register(enrollment_token=enrollment_secret, **body)

    assert answer.status_code == 422
    assert set(answer.data["errors"]) == set(body)


def test_a_new_device_may_ask_for_a_pace_of_its_own(enrollment_secret):
    answer = register(enrollment_token=enrollment_secret, heartbeat_interval_s=15)

    assert answer.data["config"]["heartbeat_interval_s"] == 15

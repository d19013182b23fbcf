"""Who may send what for whom, one by one and in batches."""

import psycopg
import pytest
from django.db import connection

from accounts.tests.factories import api_key
from devices.models import Device, DeviceState, Heartbeat
from devices.tests.factories import DeviceFactory, token_of


@pytest.fixture
def url(device):
    return f"/api/v1/devices/{device.device_id}/heartbeat"


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("operator", 200), ("admin", 200)])
def test_an_api_key_sends_for_every_device_if_its_role_may(gateway, device, url, role, status):
    _, secret = api_key(device.organization, role)

    assert gateway.post(url, {}, {"X-API-Key": secret}).status == status


def test_an_api_key_of_another_organisation_finds_no_device(gateway, device, url, stranger):
    _, secret = api_key(stranger.organization, "admin")

    foreign = gateway.post(url, {}, {"X-API-Key": secret})
    absent = gateway.post(url.replace("studio-1", "absent"), {}, {"X-API-Key": secret})

    assert (foreign.status, foreign.body) == (404, absent.body)


def test_without_a_credential_nobody_is_heard(gateway, device, url):
    answers = [gateway.post(url, {}, headers) for headers in ({}, {"X-Device-Token": "0" * 64})]

    assert [answer.status for answer in answers] == [401, 401]
    assert {answer.content_type for answer in answers} == {"application/problem+json"}


def test_a_device_sends_for_itself_only(gateway, device, url):
    other = token_of(DeviceFactory(organization=device.organization))

    assert gateway.post(url, {}, {"X-Device-Token": other}).status == 404


def test_a_retired_device_is_not_heard(gateway, device, url):
    secret = token_of(device)
    Device.objects.update(lifecycle="retired", retired_at=device.created_at)

    assert gateway.post(url, {}, {"X-Device-Token": secret}).status == 401


def batch(gateway, headers, *items):
    return gateway.post("/api/v1/telemetry/batch", {"heartbeats": list(items)}, headers)


def test_a_device_delivers_what_it_kept_while_it_was_cut_off(gateway, device):
    items = [{"boot_id": "a", "sequence": n, "cpu_percent": n} for n in range(1, 6)]

    answer = batch(gateway, {"X-Device-Token": token_of(device)}, *items, {"cpu_percent": "x"})

    assert (answer.json()["accepted"], answer.json()["rejected"]) == (5, 1)
    assert [row["status"] for row in answer.json()["results"]] == ["accepted"] * 5 + ["rejected"]
    assert Heartbeat.objects.count() == 5
    assert DeviceState.objects.get().sequence == 5


def test_a_key_delivers_for_many_devices_and_each_is_judged_by_itself(gateway, device, stranger):
    DeviceFactory(organization=device.organization, device_id="second")
    DeviceFactory(organization=stranger.organization, device_id="foreign")
    _, secret = api_key(device.organization)
    ids = ["studio-1", "second", "foreign", "absent"]

    answer = batch(gateway, {"X-API-Key": secret}, *[{"device_id": name} for name in ids])

    results = answer.json()["results"]
    assert [row["status"] for row in results] == ["accepted", "accepted", "rejected", "rejected"]
    assert results[2]["detail"] == results[3]["detail"]
    assert set(Heartbeat.objects.values_list("device__device_id", flat=True)) == {
        "studio-1",
        "second",
    }


def test_a_batch_over_its_cap_is_refused_whole(gateway, device):
    answer = batch(gateway, {"X-Device-Token": token_of(device)}, *[{}] * 501)

    assert answer.status in {413, 422}
    assert not Heartbeat.objects.exists()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT email FROM accounts_user",
        "SELECT * FROM audit_auditentry",
        "UPDATE devices_device SET name = 'x'",
        "DELETE FROM commands_command",
        "INSERT INTO devices_devicetoken (id) VALUES (gen_random_uuid())",
    ],
)
def test_the_gateways_role_may_not_do_what_its_statements_do_not_need(transactional_db, statement):
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE fleet_gateway")
        try:
            with pytest.raises(Exception, match="permission denied") as refusal:
                cursor.execute(statement)
        finally:
            cursor.execute("RESET ROLE")

    assert isinstance(refusal.value.__cause__, psycopg.errors.InsufficientPrivilege)

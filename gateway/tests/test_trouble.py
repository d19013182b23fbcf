"""What the gateway does when it, or what it stands on, is in trouble."""

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from commands.models import Command
from commands.tests.factories import CommandFactory
from common import db
from devices.models import DeviceState, Heartbeat, ServicePulse
from devices.tests.factories import DeviceFactory, token_of
from gateway import background, claims, database, gatherer, rounds, wakeups
from gateway.tests.door import Call

PATIENCE_S = 5.0


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def end_connections() -> None:
    """End every connection of the gateways, as a restart of PostgreSQL does."""
    db.fetch_all(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'fleet-gateway' AND datname = current_database()"
    )


def test_a_full_queue_refuses_before_reading(beat, monkeypatch):
    monkeypatch.setattr(gatherer, "QUEUE_MAX", 0)

    answer = beat(b"not even JSON")

    assert answer.status == 503
    assert 1 <= int(answer.headers["retry-after"]) <= 10
    assert answer.json()["code"] == "overloaded"


def test_a_batch_that_does_not_fit_is_refused_whole(door, token, monkeypatch):
    monkeypatch.setattr(gatherer, "QUEUE_MAX", 3)

    answer = door.post(
        "/api/v1/telemetry/batch", {"heartbeats": [{}] * 4}, {"X-Device-Token": token}
    )

    assert answer.status == 503
    assert not Heartbeat.objects.exists()


def test_the_pace_slows_while_much_is_waiting(door, beat, monkeypatch):
    assert 54 <= beat().json()["next_heartbeat_s"] <= 66

    monkeypatch.setattr(gatherer.Gatherer, "load", 0.9)

    assert beat().json()["next_heartbeat_s"] > 100


def test_lost_connections_are_replaced_without_anybody_noticing(beat):
    assert beat().status == 200

    end_connections()

    assert beat().status == 200


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Callable[[], None]:
    """Hide the database from connections to come; call it to show the database again."""
    monkeypatch.setattr(database, "conninfo", lambda: f"host={tmp_path} dbname=nothing")
    return monkeypatch.undo


def test_an_absent_database_is_told_in_time_and_its_return_is_noticed(
    unreachable, device, token, door
):
    url = f"/api/v1/devices/{device.device_id}/heartbeat"
    started = time.monotonic()

    answer = door.post(url, {}, {"X-Device-Token": token})

    assert (answer.status, "retry-after" in answer.headers) == (503, True)
    assert time.monotonic() - started < 3.5
    unreachable()
    assert door.post(url, {}, {"X-Device-Token": token}).status == 200


def test_claims_and_batches_are_refused_without_a_database(unreachable, device, token, door):
    headers = {"X-Device-Token": token}
    batch = Call("/api/v1/telemetry/batch", b'{"heartbeats":[]}', headers)
    claim = Call(f"/api/v1/devices/{device.device_id}/commands/claim?wait=30", b"", headers)
    started = time.monotonic()

    answers = door.together([batch, claim])

    assert [answer.status for answer in answers] == [503, 503]
    assert time.monotonic() - started < 4


@pytest.fixture
def writer(device: Any) -> Any:
    """Somebody who is writing the device's state and has not committed."""
    connection = psycopg.connect(database.conninfo())
    connection.execute("UPDATE devices_devicestate SET flaps = 7 WHERE device_id = %s", [device.pk])
    yield connection
    connection.close()


def test_a_locked_device_waits_and_the_others_do_not(door, beat, device, writer):
    other = DeviceFactory(organization=device.organization)
    headers = {"X-Device-Token": token_of(other)}
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(beat(cpu_percent=9)))
    waiting.start()
    started = time.monotonic()

    for _ in range(5):
        url = f"/api/v1/devices/{other.device_id}/heartbeat"
        assert door.post(url, {}, headers).status == 200

    assert time.monotonic() - started < 1
    assert answers == []
    writer.commit()
    waiting.join()
    state = DeviceState.objects.get(device=device)
    assert answers[0].status == 200
    assert (state.flaps, state.cpu_percent) == (7, 9.0)


def test_an_event_that_has_to_wait_for_the_device_holds_up_nobody_else(door, device, token):
    other = DeviceFactory(organization=device.organization)
    url = "/api/v1/devices/{}/heartbeat"
    started = time.monotonic()
    with psycopg.connect(database.conninfo()) as somebody:
        somebody.execute("SELECT FROM devices_device WHERE id = %s FOR UPDATE", [device.pk])

        answers = door.together(
            [
                Call(url.format(device.device_id), b"{}", {"X-Device-Token": token}),
                Call(url.format(other.device_id), b"{}", {"X-Device-Token": token_of(other)}),
            ]
        )

    assert [answer.status for answer in answers] == [503, 200]
    assert time.monotonic() - started < 1.5


def test_a_device_that_stays_locked_is_told_to_come_back(beat, writer, monkeypatch):
    monkeypatch.setattr(gatherer, "BUSY_PATIENCE_S", 0.2)

    assert beat().status == 503


def test_a_device_made_without_its_state_row_gets_one(beat, device):
    DeviceState.objects.filter(device=device).delete()

    assert beat(cpu_percent=3).status == 200
    assert DeviceState.objects.get(device=device).cpu_percent == 3.0


def test_a_value_only_the_database_refuses_harms_its_own_heartbeat_only(
    door, device, token, monkeypatch
):
    monkeypatch.setattr("gateway.heartbeat_shapes._refuse_nul", lambda value: None)
    other = DeviceFactory(organization=device.organization)
    url = "/api/v1/devices/{}/heartbeat"

    answers = door.together(
        [
            Call(url.format(device.device_id), b'{"version":"\\u0000"}', {"X-Device-Token": token}),
            Call(url.format(other.device_id), b"{}", {"X-Device-Token": token_of(other)}),
        ]
    )

    assert [answer.status for answer in answers] == [422, 200]


def test_a_device_that_hung_up_takes_no_command(door, device, token):
    call = Call(
        f"/api/v1/devices/{device.device_id}/commands/claim?wait=30",
        headers={"X-Device-Token": token},
    )
    claim = door.begin(call.run(door.gateway))
    eventually(lambda: door.running.claims.waiting == 1)

    door.hang_up(call)
    claim.result(PATIENCE_S)

    assert door.running.claims.waiting == 0
    assert device.pk not in door.running.wakeups
    command = CommandFactory(device=device)
    assert Command.objects.get(pk=command.pk).status == "queued"


def test_waiting_claims_are_answered_when_the_server_is_told_to_stop(door, device, token):
    call = Call(
        f"/api/v1/devices/{device.device_id}/commands/claim?wait=60",
        headers={"X-Device-Token": token},
    )
    claim = door.begin(call.run(door.gateway))
    eventually(lambda: door.running.claims.waiting == 1)

    door.loop.call_soon_threadsafe(door.running.end_waits)

    assert claim.result(PATIENCE_S).json() == {"commands": []}


def test_too_many_waiting_claims_are_refused(door, device, token, monkeypatch):
    monkeypatch.setattr(claims, "WAITERS_MAX", 0)

    answer = door.post(
        f"/api/v1/devices/{device.device_id}/commands/claim", None, {"X-Device-Token": token}
    )

    assert answer.status == 503


def test_claims_that_come_faster_than_they_are_answered_are_refused(
    door, device, token, monkeypatch
):
    monkeypatch.setattr(rounds, "QUEUE_MAX", 0)

    answer = door.post(
        f"/api/v1/devices/{device.device_id}/commands/claim", None, {"X-Device-Token": token}
    )

    assert (answer.status, "retry-after" in answer.headers) == (503, True)


def test_a_command_queued_while_nobody_listened_is_found(door, device, token, monkeypatch):
    monkeypatch.setattr(wakeups, "LOOK_EVERY_S", 0.1)
    call = Call(
        f"/api/v1/devices/{device.device_id}/commands/claim?wait=20",
        headers={"X-Device-Token": token},
    )
    claim = door.begin(call.run(door.gateway))
    eventually(lambda: door.running.claims.waiting == 1)
    db.execute("ALTER TABLE commands_command DISABLE TRIGGER commands_command_queued")
    try:
        CommandFactory(device=device)
    finally:
        db.execute("ALTER TABLE commands_command ENABLE TRIGGER commands_command_queued")

    end_connections()

    assert len(claim.result(PATIENCE_S).json()["commands"]) == 1


def test_the_gateway_shows_since_when_devices_are_heard(door, monkeypatch):
    monkeypatch.setattr(background, "PULSE_EVERY_S", 0.05)
    eventually(lambda: ServicePulse.objects.filter(name="gateway").exists())
    pulse = ServicePulse.objects.get(name="gateway")

    eventually(lambda: ServicePulse.objects.get(name="gateway").at > pulse.at)

    assert ServicePulse.objects.get(name="gateway").since == pulse.since
    db.execute("UPDATE devices_servicepulse SET at = at - interval '31 seconds'")
    eventually(lambda: ServicePulse.objects.get(name="gateway").since > pulse.since)

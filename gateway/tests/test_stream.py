"""A device's stream: the truth at once, what changes at once, and an end in order."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from commands.models import Command
from commands.tests.factories import CommandFactory
from common import clock, db
from devices.models import Device, DeviceToken
from devices.tests.factories import DeviceFactory, token_of
from gateway import stream as streams
from gateway import wakeups
from gateway.tests.door import Door
from gateway.tests.listening import Listening
from gateway.tests.test_trouble import end_connections, eventually

Listen = Callable[..., Listening]


@pytest.fixture
def listen(door: Door, device: Device, token: str) -> Iterator[Listen]:
    """Open a stream of the device."""
    opened: list[Listening] = []

    def open_stream(name: str = device.device_id, secret: str = token, **headers: str) -> Listening:
        opened.append(Listening.of_device(door, name, secret, **headers))
        return opened[-1]

    yield open_stream
    for one in opened:
        one.hang_up()
        one.finish()


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let gateways look for themselves often."""
    monkeypatch.setattr(wakeups, "LOOK_EVERY_S", 0.1)


def run_now(command: Command, **values: Any) -> None:
    """Let the command be running."""
    now = clock.now()
    deadline = now + timedelta(hours=1)
    rows = Command.objects.filter(pk=command.pk)
    rows.update(status="delivered", attempt=1, delivered_at=now, lease_expires_at=deadline)
    rows.update(status="running", started_at=now, run_deadline=deadline, **values)


def test_a_stream_begins_with_the_truth(listen, device):
    CommandFactory(device=device)
    CommandFactory(device=device, sequence=1)

    stream = listen()

    hello = stream.wait_for("hello")
    assert (hello["pending"], hello["server_time"][-1]) == (2, "Z")
    assert stream.wait_for("command_queued") == {"pending": 2}
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["cache-control"] == "no-store"


def test_a_command_is_told_at_once(listen, device):
    stream = listen()
    assert stream.wait_for("hello")["pending"] == 0

    began = time.monotonic()
    CommandFactory(device=device)

    assert stream.wait_for("command_queued") == {"pending": 1}
    assert time.monotonic() - began < 1


def test_another_command_is_told_although_the_count_is_the_same(listen, device):
    stream = listen()
    stream.wait_for("hello")
    first = CommandFactory(device=device)
    stream.wait_for("command_queued")
    Command.objects.filter(pk=first.pk).update(status="cancelled", finished_at=clock.now())

    CommandFactory(device=device, sequence=2)

    assert stream.wait_for("command_queued", times=2) == {"pending": 1}


def test_a_wish_to_cancel_is_told_once_to_each_stream(listen, device):
    command = CommandFactory(device=device)
    run_now(command)
    stream = listen()
    stream.wait_for("hello")

    Command.objects.filter(pk=command.pk).update(cancel_requested_at=clock.now())

    wish = {"command": str(command.pk), "attempt": 1}
    assert stream.wait_for("cancel_requested") == wish
    CommandFactory(device=device, sequence=2)
    stream.wait_for("command_queued")
    assert stream.told("cancel_requested") == [wish]
    assert listen(**{"Last-Event-ID": str(stream.ids[-1])}).wait_for("cancel_requested") == wish


def test_ids_rise_also_after_the_last_one_of_an_earlier_stream(listen, device):
    ahead = time.time_ns() // 1_000 + 60_000_000
    stream = listen(**{"Last-Event-ID": str(ahead)})
    CommandFactory(device=device)
    stream.wait_for("command_queued")

    assert stream.ids == sorted(set(stream.ids))
    assert stream.ids[0] == ahead + 1


@pytest.mark.parametrize("last", ["", "x", "-1", "9" * 19, "9" * 200])
def test_an_unusable_last_event_id_is_passed_over(listen, last):
    stream = listen(**{"Last-Event-ID": last})

    stream.wait_for("hello")

    assert abs(stream.ids[0] - time.time_ns() // 1_000) < 60_000_000


def test_a_newer_stream_of_the_device_ends_the_older(listen, device, door):
    older = listen()
    older.wait_for("hello")

    newer = listen()

    newer.wait_for("hello")
    assert older.wait_for("bye")["retry_ms"] >= 0
    assert older.ended
    CommandFactory(device=device)
    newer.wait_for("command_queued")
    eventually(lambda: door.running.streams.amount == 1)


def test_a_newer_stream_at_another_gateway_ends_it_too(listen, device, token):
    older = listen()
    older.wait_for("hello")
    other = Door()
    try:
        newer = Listening.of_device(other, device.device_id, token)

        newer.wait_for("hello")
        older.wait_for("bye")
        newer.hang_up()
        newer.finish()
    finally:
        other.close()


def test_who_may_not_listen_is_refused(listen, device):
    other = DeviceFactory(organization=device.organization)
    refused = {
        404: [listen(name=other.device_id), listen(name="absent")],
        401: [listen(secret="0" * 64), listen(secret="")],
    }

    for status, attempts in refused.items():
        for stream in attempts:
            stream.finish()
            assert stream.status == status
            assert "event:" not in stream.text


def test_a_pending_device_hears_of_nothing(listen, device):
    CommandFactory(device=device)
    Device.objects.filter(pk=device.pk).update(lifecycle="pending")

    assert listen().wait_for("hello")["pending"] == 0


def test_a_revoked_token_ends_the_stream_at_the_next_event(listen, device):
    stream = listen()
    stream.wait_for("hello")
    DeviceToken.objects.filter(device=device).update(revoked_at=clock.now())

    CommandFactory(device=device)

    stream.wait_for("bye")
    assert stream.told("command_queued") == []


def test_comments_keep_it_open_and_its_life_ends_with_a_word(listen, monkeypatch):
    monkeypatch.setattr(streams, "COMMENT_EVERY_S", 0.05)
    monkeypatch.setattr(streams, "LIFE_S", 0.4)

    stream = listen()

    stream.wait_for("bye")
    assert stream.text.count("\n: ") >= 3
    assert stream.ended


def test_streams_over_the_cap_are_told_to_come_back(listen, monkeypatch):
    monkeypatch.setattr(streams, "STREAMS_MAX", 0)

    stream = listen()

    stream.finish()
    assert (stream.status, "retry-after" in stream.headers) == (503, True)


def test_a_reader_that_takes_nothing_is_dropped(listen, device, door, monkeypatch):
    monkeypatch.setattr(streams, "SEND_PATIENCE_S", 0.1)
    stream = listen()
    stream.wait_for("hello")
    stream.takes = False

    CommandFactory(device=device)

    stream.finish()
    assert stream.told("command_queued") == []
    assert door.running.streams.amount == 0
    assert device.pk not in door.running.wakeups


def test_a_device_that_hangs_up_is_forgotten(listen, device, door):
    stream = listen()
    stream.wait_for("hello")

    stream.hang_up()
    stream.finish()

    assert door.running.streams.amount == 0
    assert device.pk not in door.running.wakeups


def test_a_stop_ends_streams_at_once_and_lets_no_new_one_in(listen, door):
    stream = listen()
    stream.wait_for("hello")
    began = time.monotonic()

    door.loop.call_soon_threadsafe(door.running.end_waits)

    stream.wait_for("bye")
    stream.finish()
    assert time.monotonic() - began < 1
    late = listen()
    late.finish()
    assert late.status == 503


def test_nothing_is_missed_while_the_connections_are_lost(listen, device):
    stream = listen()
    stream.wait_for("hello")
    end_connections()

    CommandFactory(device=device)

    stream.wait_for("command_queued")


def test_a_moment_that_comes_is_told_without_a_notification(quick_looks, listen, device):
    stream = listen()
    stream.wait_for("hello")

    CommandFactory(device=device, not_before=clock.now() + timedelta(seconds=0.5))

    assert stream.wait_for("command_queued") == {"pending": 1}


def test_a_wish_to_cancel_is_told_without_a_notification(quick_looks, listen, device):
    command = CommandFactory(device=device)
    run_now(command)
    stream = listen()
    stream.wait_for("hello")
    db.execute("ALTER TABLE commands_command DISABLE TRIGGER commands_command_stop")
    try:
        Command.objects.filter(pk=command.pk).update(cancel_requested_at=clock.now())
    finally:
        db.execute("ALTER TABLE commands_command ENABLE TRIGGER commands_command_stop")

    assert stream.wait_for("cancel_requested")["attempt"] == 1


def test_no_connection_is_left_behind(transactional_db):
    def sessions() -> int:
        ((amount,),) = db.fetch_all(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name = 'fleet-gateway' AND datname = current_database()"
        )
        return int(amount)

    for _ in range(3):
        Door().close()
    doors = [Door() for _ in range(2)]
    eventually(lambda: sessions() >= 2)
    for one in doors:
        one.close()

    eventually(lambda: sessions() == 0)


def test_many_devices_hear_of_their_own_commands_only(listen, organization):
    devices = [DeviceFactory(organization=organization) for _ in range(20)]
    opened = [listen(one.device_id, token_of(one)) for one in devices]
    for stream in opened:
        stream.wait_for("hello")

    for one in devices[::2]:
        CommandFactory(device=one)

    for stream in opened[::2]:
        stream.wait_for("command_queued")
    assert all(stream.told("command_queued") == [] for stream in opened[1::2])

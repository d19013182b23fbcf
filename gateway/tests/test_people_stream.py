"""The event stream of people and API keys: what is, what happens, and only what they may see."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client
from guardian.shortcuts import assign_perm

from accounts.models import ApiKey, Membership, Organization
from accounts.policy import Role
from accounts.tests.factories import api_key, member
from commands.tests.factories import CommandFactory, batch_of, deliver
from common import clock, db, limits
from common.ids import uuid7
from devices.models import GRANT, Device, DeviceEvent
from devices.tests.factories import DeviceFactory, group_of
from gateway.application import Gateway
from gateway.handler import OneThreadHandler
from gateway.people import trails, watcher, watching
from gateway.tests.door import Door
from gateway.tests.listening import Listening
from gateway.tests.test_trouble import eventually
from releases.models import DeviceUpdate, Rollout, RolloutEvent
from releases.services.rollout_events import event_add
from releases.tests.factories import RolloutFactory, RolloutTargetFactory, update_of

Listen = Callable[..., Listening]
PATH = "/api/v1/stream"


@pytest.fixture
def door(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """A gateway with the whole of Django behind it, that looks often."""
    monkeypatch.setattr(watching, "LOOK_EVERY_S", 0.05)
    # Threads of requests come and go, as with the pool that is used behind ASGI.
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)
    opened = Door(Gateway(OneThreadHandler()))
    yield opened
    opened.close()


@pytest.fixture
def listen(door: Door, organization: Organization) -> Iterator[Listen]:
    """Open a stream as an API key of the organisation, or with other headers."""
    _, secret = api_key(organization, Role.VIEWER)
    opened: list[Listening] = []

    def open_stream(headers: dict[str, str] | None = None, **query: Any) -> Listening:
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        sent = {"X-API-Key": secret} if headers is None else headers
        opened.append(Listening(door, f"{PATH}?{asked}", {**sent, "Accept": "text/event-stream"}))
        return opened[-1]

    yield open_stream
    for one in opened:
        one.hang_up()
        one.finish()


def running(organization: Organization, **fields: Any) -> Rollout:
    made: Rollout = RolloutFactory(
        release__organization=organization, status="running", started_at=clock.now(), **fields
    )
    return made


def told_of(device: Device, message: str = "It went offline.") -> DeviceEvent:
    return DeviceEvent.objects.create(
        organization=device.organization,
        device=device,
        at=clock.now(),
        kind="offline",
        message=message,
    )


def signed_in(person: Any) -> dict[str, str]:
    """Return the headers of a browser in which the person has signed in."""
    client = Client()
    client.force_login(person.user)
    return {"Cookie": f"sessionid={client.cookies['sessionid'].value}"}


def test_it_begins_with_how_things_stand(listen, organization):
    rollout = running(organization)
    RolloutTargetFactory(rollout=rollout)
    ended = running(organization)
    Rollout.objects.filter(pk=ended.pk).update(status="completed", finished_at=clock.now())

    stream = listen()

    assert stream.wait_for("hello")["organization"] == "acme"
    told = stream.wait_for("rollout")
    assert (told["id"], told["status"]) == (str(rollout.pk), "running")
    assert (told["total"], told["by_state"]) == (1, {"waiting": 1})
    assert [one["id"] for one in stream.told("rollout")] == [str(rollout.pk)]
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["cache-control"] == "no-store"
    assert stream.headers["x-accel-buffering"] == "no"


def test_a_rollout_that_halts_is_told_with_its_event(listen, organization):
    rollout = running(organization)
    stream = listen()
    stream.wait_for("rollout")

    Rollout.objects.filter(pk=rollout.pk).update(status="halted", reason="too many failed")
    event = event_add(rollout, "halt", "Too many failed.", clock.now(), failed=3)

    told = stream.wait_for("rollout_event")
    assert (told["id"], told["kind"], told["details"]) == (event.pk, "halt", {"failed": 3})
    now = stream.wait_for("rollout", times=2)
    assert (now["status"], now["reason"]) == ("halted", "too many failed")


def test_progress_is_told_once_per_change(listen, organization, device):
    rollout = running(organization)
    target = RolloutTargetFactory(rollout=rollout, device=device)
    stream = listen()
    stream.wait_for("rollout")

    update = update_of(device, rollout.release, rollout=rollout)
    target.update = update
    target.save(update_fields=["update"])
    DeviceUpdate.objects.filter(pk=update.pk).update(status="offered", offered_at=clock.now())

    def states() -> list[Any]:
        return [one["by_state"] for one in stream.told("rollout")]

    eventually(lambda: states()[-1] == {"offered": 1})
    told_of(device)
    stream.wait_for("device_event")
    assert all(one != other for one, other in zip(states(), states()[1:], strict=False))
    assert stream.told("update") == []


def test_a_stream_about_a_rollout_tells_each_update(listen, organization, device):
    rollout, other = running(organization), running(organization)
    stream = listen(rollout=rollout.pk)
    stream.wait_for("rollout")

    update = update_of(device, rollout.release, rollout=rollout)
    update_of(DeviceFactory(organization=organization), other.release, rollout=other)
    event_add(other, "pause", "Paused.", clock.now())
    DeviceUpdate.objects.filter(pk=update.pk).update(status="failed", finished_at=clock.now())

    eventually(lambda: [one["status"] for one in stream.told("update")][-1:] == ["failed"])
    assert {one["update_id"] for one in stream.told("update")} == {update.pk}
    assert stream.told("update")[0]["device_id"] == "studio-1"
    assert {one["id"] for one in stream.told("rollout")} == {str(rollout.pk)}
    assert stream.told("rollout_event") == []


def test_a_stream_about_a_device_tells_its_commands_updates_and_events(
    listen, organization, device
):
    update = update_of(device, RolloutFactory(release__organization=organization).release)
    stream = listen(device=device.pk)
    assert stream.wait_for("update")["update_id"] == update.pk
    neighbour = DeviceFactory(organization=organization)

    command = CommandFactory(device=device)
    CommandFactory(device=neighbour)
    told_of(neighbour)
    event = told_of(device)

    assert stream.wait_for("device_event")["id"] == str(event.pk)
    assert stream.wait_for("command")["status"] == "queued"
    deliver(command)
    assert stream.wait_for("command", times=2)["status"] == "delivered"
    assert {one["device_id"] for one in stream.told("command")} == {"studio-1"}
    assert len(stream.told("device_event")) == 1


def test_a_stream_about_a_batch_tells_its_commands_and_its_state(listen, device):
    command = CommandFactory(device=device)
    batch = batch_of(command)
    stream = listen(batch=batch.pk)
    assert stream.wait_for("batch")["by_status"] == {"queued": 1}

    deliver(command)

    assert stream.wait_for("command")["batch"] == str(batch.pk)
    assert stream.wait_for("batch", times=2)["by_status"] == {"delivered": 1}
    type(batch).objects.filter(pk=batch.pk).update(status="paused")
    assert stream.wait_for("batch", times=3)["status"] == "paused"


def test_an_event_that_is_committed_late_is_told(listen, organization):
    rollout = running(organization)
    stream = listen()
    stream.wait_for("rollout")
    ((early,),) = db.fetch_all(
        "SELECT nextval(pg_get_serial_sequence('releases_rolloutevent', 'id'))"
    )
    event_add(rollout, "pause", "Paused.", clock.now())
    stream.wait_for("rollout_event")

    RolloutEvent.objects.create(
        pk=early, organization=organization, rollout=rollout, at=clock.now(), kind="start"
    )

    assert stream.wait_for("rollout_event", times=2)["kind"] == "start"


def test_nothing_of_another_organisation_is_told(listen, organization, other_organization, device):
    foreign = running(other_organization)
    stranger = DeviceFactory(organization=other_organization)
    stream = listen()
    stream.wait_for("hello")

    event_add(foreign, "halt", "Foreign.", clock.now())
    told_of(stranger, "Foreign.")
    told_of(device)

    stream.wait_for("device_event")
    assert "Foreign" not in stream.text
    assert str(foreign.pk) not in stream.text


def test_a_limited_person_hears_of_their_own_devices_only(listen, organization, device):
    person = member(organization, Role.OPERATOR, limited_to_groups=True)
    hidden = DeviceFactory(organization=organization, device_id="hidden-1")
    mine, theirs = running(organization), running(organization)
    RolloutTargetFactory(rollout=mine, device=device)
    RolloutTargetFactory(rollout=theirs, device=hidden)
    assign_perm(f"devices.{GRANT}", person.user, group_of(organization, device))
    stream = listen(signed_in(person))
    stream.wait_for("rollout")

    told_of(hidden)
    event_add(theirs, "halt", "Theirs.", clock.now())
    told_of(device)
    event_add(mine, "halt", "Mine.", clock.now())

    assert stream.wait_for("rollout_event")["message"] == "Mine."
    assert stream.wait_for("device_event")["device_id"] == "studio-1"
    assert "hidden-1" not in stream.text
    assert str(theirs.pk) not in stream.text


@pytest.mark.parametrize("name", ["rollout", "device", "batch"])
def test_a_stream_about_something_foreign_or_absent_is_refused_alike(
    listen, other_organization, name
):
    stranger = DeviceFactory(organization=other_organization)
    foreign = {
        "rollout": running(other_organization).pk,
        "device": stranger.pk,
        "batch": batch_of(CommandFactory(device=stranger)).pk,
    }

    answers = [listen(**{name: foreign[name]}), listen(**{name: uuid7()})]

    for stream in answers:
        stream.finish()
        assert stream.status == 404
    assert answers[0].text.replace("\n", "") == answers[1].text.replace("\n", "")


def test_who_is_unknown_and_what_is_no_key_is_refused(listen):
    refused = {401: listen({}), 422: listen(rollout="x")}

    for status, stream in refused.items():
        stream.finish()
        assert stream.status == status
        assert "event:" not in stream.text


def test_who_comes_back_is_told_what_happened_meanwhile(listen, organization, device):
    rollout = running(organization)
    first = listen()
    first.wait_for("rollout")
    first.hang_up()
    first.finish()
    missed = [
        event_add(rollout, "pause", "Paused.", clock.now()),
        event_add(rollout, "resume", "Goes on.", clock.now()),
    ]
    gone = told_of(device)

    _, secret = api_key(organization, Role.VIEWER)
    back = listen({"X-API-Key": secret, "Last-Event-ID": str(first.ids[-1])})

    back.wait_for("rollout")
    assert [one["id"] for one in back.told("rollout_event")] == [one.pk for one in missed]
    assert [one["id"] for one in back.told("device_event")] == [str(gone.pk)]
    assert back.told("missed") == []
    assert back.ids == sorted(set(back.ids))
    assert back.ids[0] > first.ids[-1]


def test_after_a_long_break_it_says_that_something_was_missed(listen, organization):
    _, secret = api_key(organization, Role.VIEWER)
    yesterday = int((time.time() - 86_400) * 1_000_000)

    stream = listen({"X-API-Key": secret, "Last-Event-ID": str(yesterday)})

    assert stream.wait_for("missed") == {}


@pytest.mark.parametrize("last", ["", "x", "-1", "9" * 18, "9" * 200, "²"])
def test_an_unusable_last_event_id_is_passed_over(listen, organization, last):
    _, secret = api_key(organization, Role.VIEWER)

    stream = listen({"X-API-Key": secret, "Last-Event-ID": last})

    stream.wait_for("hello")
    assert stream.told("missed") == []
    assert abs(stream.ids[0] - time.time_ns() // 1_000) < 60_000_000


def _revoked(_person: Any, organization: Organization) -> None:
    ApiKey.objects.filter(organization=organization).update(revoked_at=clock.now())


def _demoted(person: Any, organization: Organization) -> None:
    rows = Membership.objects.filter(user=person.user, organization=organization)
    rows.update(role=Role.VIEWER)


def _removed(person: Any, organization: Organization) -> None:
    Membership.objects.filter(user=person.user, organization=organization).delete()


def _with_new_password(person: Any, _organization: Organization) -> None:
    person.user.set_password("another rather long password")
    person.user.save(update_fields=["password"])


@pytest.mark.parametrize(
    ("by_key", "end"),
    [(True, _revoked), (False, _demoted), (False, _removed), (False, _with_new_password)],
)
def test_a_stream_ends_with_the_right_to_it(listen, organization, device, monkeypatch, by_key, end):
    monkeypatch.setattr(watching, "RIGHTS_EVERY_S", 0.0)
    person = member(organization, Role.OPERATOR)
    stream = listen() if by_key else listen(signed_in(person))
    stream.wait_for("hello")

    end(person, organization)

    stream.wait_for("bye")
    stream.finish()
    told_of(device)
    assert stream.told("device_event") == []


@pytest.mark.parametrize("by_key", [True, False])
def test_a_stream_goes_on_while_the_right_to_it_does(
    listen, organization, device, monkeypatch, by_key
):
    monkeypatch.setattr(watching, "RIGHTS_EVERY_S", 0.0)
    stream = listen() if by_key else listen(signed_in(member(organization, Role.OPERATOR)))
    stream.wait_for("hello")

    for times in (1, 2, 3):
        told_of(device)
        stream.wait_for("device_event", times=times)

    assert stream.told("bye") == []


def test_a_caller_has_only_so_many_streams(listen, door, organization, monkeypatch):
    monkeypatch.setattr(limits, "STREAMS_PER_CALLER", 2)
    opened = [listen() for _ in range(2)]
    for stream in opened:
        stream.wait_for("hello")

    third = listen()
    third.finish()

    assert third.status == 429
    assert "too_many_streams" in third.text
    _, secret = api_key(organization, Role.VIEWER)
    listen({"X-API-Key": secret}).wait_for("hello")
    opened[0].hang_up()
    opened[0].finish()
    listen().wait_for("hello")


def test_who_hangs_up_is_forgotten_and_nothing_is_read_any_more(listen, door):
    stream = listen()
    stream.wait_for("hello")

    stream.hang_up()
    stream.finish()

    eventually(lambda: door.running.watching.amount == 0)
    eventually(lambda: not door.running.watching._reads)


def test_a_reader_that_takes_nothing_is_dropped(listen, door, device, monkeypatch):
    monkeypatch.setattr(watcher, "PATIENCE_S", 0.2)
    stream = listen()
    stream.wait_for("hello")
    stream.takes = False
    told_of(device)
    eventually(lambda: stream.blocked)

    told_of(device)

    stream.finish()
    assert door.running.watching.amount == 0


def test_a_slow_reader_hears_that_it_missed_something(listen, device, monkeypatch):
    monkeypatch.setattr(watcher, "WAITING_MAX", 3)
    stream, other = listen(), listen()
    for one in (stream, other):
        one.wait_for("hello")
    stream.takes = False
    told_of(device)
    eventually(lambda: stream.blocked)
    for round_ in range(5):
        told_of(device)
        # Both are told in the same round.
        other.wait_for("device_event", times=round_ + 2)

    stream.takes = True

    assert stream.wait_for("missed") == {}


def test_comments_keep_it_open_and_its_life_ends_with_a_word(listen, monkeypatch):
    monkeypatch.setattr(limits, "STREAM_COMMENT_S", 0.05)
    monkeypatch.setattr(limits, "STREAM_LIFE_S", 0.5)

    stream = listen()

    retry_ms = stream.wait_for("bye")["retry_ms"]
    assert f"retry: {retry_ms}\n" in stream.text
    assert stream.text.count("\n: ") >= 3
    assert stream.ended


def test_a_stop_ends_streams_at_once_and_lets_no_new_one_in(listen, door):
    stream = listen()
    stream.wait_for("hello")
    began = time.monotonic()

    door.loop.call_soon_threadsafe(door.running.end_waits)

    stream.wait_for("bye")
    stream.finish()
    assert time.monotonic() - began < 2
    late = listen()
    late.finish()
    assert late.status == 429


def test_an_open_stream_holds_no_connection_to_the_database(listen, device):
    def others() -> int:
        ((amount,),) = db.fetch_all(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name <> 'fleet-gateway' AND pid <> pg_backend_pid()"
        )
        return int(amount)

    before = others()
    for _ in range(4):
        listen().wait_for("hello")

    eventually(lambda: others() <= before)


@pytest.fixture
def database_away(transactional_db: None) -> Iterator[Callable[[bool], None]]:
    """Let the database refuse new connections, or take them again."""
    ((name,),) = db.fetch_all("SELECT quote_ident(current_database())")

    def set_away(is_away: bool) -> None:
        allowed = "false" if is_away else "true"
        # Not from the database itself.
        with connection._nodb_cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS {allowed}")

    yield set_away
    set_away(False)


def test_what_happens_while_the_database_is_away_is_told_when_it_is_back(
    listen, device, caplog, database_away
):
    stream = listen()
    stream.wait_for("hello")

    database_away(True)
    eventually(lambda: "look_missed" in caplog.text)
    told_of(device)
    database_away(False)

    stream.wait_for("device_event")
    assert stream.told("bye") == []


def test_a_process_without_streams_tells_what_is_and_says_good_bye(organization, admin_api):
    rollout = running(organization)

    answer = admin_api.get(PATH, headers={"Accept": "text/event-stream"})

    text = b"".join(answer.streaming_content).decode()
    assert answer.status_code == 200
    assert text.startswith("id: ")
    assert str(rollout.pk) in text
    assert "event: bye" in text


def test_a_device_has_another_stream(device_api):
    assert device_api.get(PATH).status_code == 403


@pytest.mark.parametrize("amount", [0, 1, 5])
def test_a_trail_tells_every_line_once_whatever_commits_when(
    transactional_db, organization, monkeypatch, amount
):
    rollout = running(organization)
    trail = trails.Trail(trails.RolloutEvent, rollout_events="pk")
    trail.begin(clock.now())
    made = [event_add(rollout, "note", f"{n}", clock.now()).pk for n in range(amount)]

    assert [key for _, key in trail.news()] == made
    assert trail.news() == []
    monkeypatch.setattr(trails, "LAG", trails.LAG * 0)
    assert trail.news() == []
    more = event_add(rollout, "note", "more", clock.now()).pk
    assert trail.news() == [(organization.pk, more)]

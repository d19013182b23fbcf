"""The statement for plain heartbeats decides as the full one, or leaves a heartbeat to it."""

import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import pytest

from accounts.tests.factories import OrganizationFactory
from commands.tests.factories import CommandFactory
from common import clock
from common.ids import secret_digest
from devices.models import Device, DeviceEvent, DeviceState, Heartbeat
from devices.tests.factories import DeviceFactory, token_of
from gateway import database, gatherer
from gateway.heartbeat_rows import HEARTBEATS, PLAIN_HEARTBEATS, Reply
from gateway.heartbeat_shapes import read_beat
from gateway.lane import Call
from gateway.tests.door import Call as Request
from gateway.waiting import NOBODY, Sender, Waiting
from tests.running_portal import eventually

MINUTE = timedelta(minutes=1)
NUMBERS = {
    "cpu_percent": [None, 12.5],
    "disk_free_gb": [None, 3],
    "containers_running": [None, 4],
    "uptime_seconds": [None, 86_400],
}


class Sent(NamedTuple):
    """A heartbeat on its way, and the device it is from."""

    device: Device
    row: tuple[Any, ...]


@pytest.fixture
def connection(transactional_db: None) -> Iterator[psycopg.Connection]:
    """A connection with the gateway's role and options, in one transaction."""
    with psycopg.connect(database.conninfo()) as opened:
        # Making devices takes its time meanwhile.
        opened.execute("SET idle_in_transaction_session_timeout = 0")
        for statement in (PLAIN_HEARTBEATS, HEARTBEATS):
            opened.execute(statement.prepare)
        yield opened
        opened.rollback()


def said(connection: psycopg.Connection, call: Call[Reply]) -> list[Reply]:
    """Run a statement in the connection's transaction, as the gateway's role."""
    statement, parameters = call
    connection.execute(f"SET ROLE {database.ROLE}")
    result = connection.pgconn.exec_prepared(
        statement.name, parameters, [1] * len(parameters), result_format=1
    )
    connection.execute("RESET ROLE")
    assert result.status == psycopg.pq.ExecStatus.TUPLES_OK, result.get_error_message()
    return [statement.read(result, row) for row in range(result.ntuples)]


def left_behind(connection: psycopg.Connection, device: Device) -> list[Any]:
    """Return what a device's rows hold, ids left out."""
    found: list[Any] = []
    for table, columns in (
        ("devices_heartbeat", "h.*"),
        ("devices_devicestate", "h.*"),
        ("devices_deviceevent", "h.kind, h.severity, h.message, h.details"),
    ):
        query = f"SELECT to_jsonb(h) FROM (SELECT {columns} FROM {table} h WHERE device_id = %s) h"  # noqa: S608
        rows = connection.execute(query, [device.pk]).fetchall()
        for (row,) in rows:
            row.pop("device_id", None)
        found.append(rows)
    return found


def twins(dice: random.Random, organization: Any) -> list[Sent]:
    """Return the same heartbeat of two devices that are alike in everything."""
    now = clock.now()
    rare = lambda usual, *others: dice.choice([usual] * 25 + list(others))  # noqa: E731
    fields = {
        "organization": organization,
        "lifecycle": rare("active", "quarantined", "pending", "retired"),
        "status_override": rare("", "failed"),
        "status_override_until": dice.choice([None, now + MINUTE, now - MINUTE]),
        "heartbeat_interval_s": dice.choice([None, 30]),
        "target_version": dice.choice(["", "2.0"]),
    }
    if fields["lifecycle"] == "retired":
        fields["retired_at"] = now
    health = rare("healthy", "degraded", "offline", "unknown")
    state = {
        "health": health,
        "health_since": rare(now - MINUTE, None),
        "at": rare(now - MINUTE, None, now + 5 * MINUTE),
        "last_seen": rare(now - MINUTE, None),
        "boot_id": rare("a", "b", ""),
        "past_boots": dice.choice([[], ["c"], ["a"]]),
        "sequence": rare(7, None, 8),
        **{name: dice.choice(["", "0.9"]) for name in ("version", "agent_version", "commit")},
        "skew_ms": dice.choice([None, 5]),
        "cpu_percent": dice.choice([None, 1.0]),
        "metrics": dice.choice([{}, {"load": 1}]),
        "status": dice.choice([{}, {"mode": "x"}]),
        "errors": dice.choice([[], ["old"]]),
    }
    token = {
        "confirmed_at": rare(now, None),
        "revoked_at": rare(None, now),
        "expires_at": rare(None, now + MINUTE, now - MINUTE),
    }
    moment = rare(now, now - 2 * timedelta(days=1), now + 2 * timedelta(days=1), now - MINUTE)
    body = {
        "ts": moment.isoformat(),
        "boot_id": rare("a", "d"),
        "sequence": rare(8, 7, 6),
        "health": rare(health if health in {"healthy", "degraded"} else "healthy", "failed"),
        **{name: dice.choice(["", "1.0"]) for name in ("version", "agent_version", "commit")},
        "last_convergence": dice.choice([None, now.isoformat()]),
        "metrics": dice.choice([{}, {"load": 2.5}]),
        "status": dice.choice([{}, {"mode": "y"}]),
        "errors": dice.choice([[], ["new"]]),
        **{name: dice.choice(values) for name, values in NUMBERS.items()},
    }
    wanted = rare("", "stranger")
    commands = [dice.choice(["", "0.9", "1.0", "3.0"]) for _ in range(dice.randrange(3))]
    return [sent(fields, state, token, body, wanted, commands) for _ in range(2)]


def sent(
    fields: dict[str, Any],
    state: dict[str, Any],
    token: dict[str, Any],
    body: dict[str, Any],
    wanted: str,
    commands: list[str],
) -> Sent:
    """Make a device and its heartbeat."""
    device = DeviceFactory(**fields, **{f"state__{name}": value for name, value in state.items()})
    for version in commands:
        CommandFactory(device=device, expect_version=version)
    digest = bytes(secret_digest(token_of(device, **token)))
    sender = Sender(digest, None, wanted or device.device_id, live=True)
    item = Waiting(sender, read_beat(body)[0], NOBODY.tell)
    assert item.is_plain
    return Sent(device, (*sender, item.last, *item.beat))


def compare(connection: psycopg.Connection, pairs: list[list[Sent]]) -> tuple[int, int]:
    """Store each pair's first heartbeat plainly and its second fully; return the answered ones'
    number and the others'."""
    firsts, seconds = ([pair[side] for pair in pairs] for side in (0, 1))
    before = [left_behind(connection, one.device) for one in firsts]
    plain = said(connection, PLAIN_HEARTBEATS.of([one.row for one in firsts]))
    full = said(connection, HEARTBEATS.of([one.row for one in seconds]))
    answers = [
        {
            position: reply._replace(positions=[])
            for reply in replies
            for position in reply.positions
        }
        for replies in (plain, full)
    ]
    for position, (first, second) in enumerate(pairs, start=1):
        after = left_behind(connection, first.device)
        if position in answers[0]:
            assert answers[0][position] == answers[1][position]
            assert after == left_behind(connection, second.device)
        else:
            assert after == before[position - 1]
    return len(answers[0]), len(pairs) - len(answers[0])


@pytest.mark.parametrize("seed", range(4))
def test_what_it_answers_is_what_the_full_statement_makes_of_it(connection, seed):
    dice = random.Random(seed)  # noqa: S311 - it must be repeatable
    organizations = [OrganizationFactory(is_active=active) for active in (True,) * 9 + (False,)]
    pairs = [twins(dice, dice.choice(organizations)) for _ in range(60)]

    answered, left = compare(connection, pairs)

    assert answered > 10
    assert left > 5


def test_a_locked_device_is_left_and_does_not_hold_up_the_others(connection):
    now = clock.now()
    state = {
        "boot_id": "a",
        "sequence": 1,
        "health": "healthy",
        "health_since": now,
        "at": now,
        "last_seen": now,
    }
    body = {"ts": now.isoformat(), "boot_id": "a", "sequence": 2}
    free, held = (sent({}, state, {}, body, "", []) for _ in range(2))
    with psycopg.connect(database.conninfo()) as other:
        other.execute(
            "SELECT FROM devices_devicestate WHERE device_id = %s FOR UPDATE", [held.device.pk]
        )
        replies = said(connection, PLAIN_HEARTBEATS.of([held.row, free.row]))

    assert [reply.positions for reply in replies] == [[2]]


@pytest.mark.parametrize(
    ("change", "stored"),
    [("flaps = 5", True), ("sequence = 9", False), ("health = 'failed'", False)],
)
def test_a_state_written_since_the_statement_began_is_looked_at_again(connection, change, stored):
    now = clock.now()
    state = {"boot_id": "a", "sequence": 1, "health": "healthy", "health_since": now, "at": now}
    body = {"ts": now.isoformat(), "boot_id": "a", "sequence": 2}
    one = sent({}, state, {}, body, "", [])
    # The statement's view of the tables is taken before it waits here for the lock.
    waiting = PLAIN_HEARTBEATS.prepare.replace(
        "FROM unnest(", "FROM (SELECT pg_advisory_xact_lock(7) OFFSET 0) l CROSS JOIN unnest(", 1
    )
    connection.execute("DEALLOCATE plain_heartbeats")
    connection.execute("SET lock_timeout = 0")
    connection.execute(waiting)
    connection.commit()
    with ThreadPoolExecutor() as threads, psycopg.connect(database.conninfo()) as other:
        other.execute("SELECT pg_advisory_xact_lock(7)")
        replies = threads.submit(said, connection, PLAIN_HEARTBEATS.of([one.row]))
        waits = (
            "SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
            " WHERE d.datname = current_database() AND locktype = 'advisory' AND NOT granted"
        )
        eventually(lambda: other.execute(waits).rowcount == 1, within=5, what="the wait")
        update = f"UPDATE devices_devicestate SET {change} WHERE device_id = %s"  # noqa: S608
        other.execute(update, [one.device.pk])
        other.commit()

        assert bool(replies.result(5)) is stored
    connection.commit()
    after = DeviceState.objects.get()
    assert Heartbeat.objects.count() == stored
    assert (after.sequence == 2) is stored
    assert after.flaps == (5 if stored else 0)


def plan_of(connection: psycopg.Connection) -> str:
    """Return how the statement would be run, whatever it is given."""
    (types,) = connection.execute(
        "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = %s",
        [PLAIN_HEARTBEATS.name.decode()],
    ).fetchone() or (0,)
    plan = connection.execute(
        f"EXPLAIN EXECUTE plain_heartbeats ({', '.join(['NULL'] * types)})"
    ).fetchall()
    return "\n".join(line for (line,) in plan)


def test_it_is_a_chain_of_look_ups_by_key(connection):
    over_empty_tables = plan_of(connection)
    for _ in range(50):
        token_of(DeviceFactory())
    connection.execute("ANALYZE devices_device, devices_devicetoken, devices_devicestate")
    over_fifty = plan_of(connection)

    for plan in (over_empty_tables, over_fifty):
        assert "Index Cond: (sha256 = r.token)" in plan, plan
        assert "Index Cond: (device_id = d.id)" in plan, plan
    assert "Index Cond: (id = t.device_id)" in over_fifty


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Names and sizes of the statements the gatherer makes."""
    made: list[tuple[str, int]] = []
    make = gatherer._batch

    def noting(items: list[Waiting]) -> gatherer.Batch:
        batch = make(items)
        made.append((batch.call.statement.name.decode(), len(items)))
        return batch

    monkeypatch.setattr(gatherer, "_batch", noting)
    return made


def at(second: int) -> str:
    return (datetime.now(UTC) - MINUTE + timedelta(seconds=second)).isoformat()


def test_a_first_heartbeat_is_left_to_the_full_statement_and_the_second_is_plain(beat, statements):
    assert beat(boot_id="a", sequence=1, ts=at(1)).status == 200
    assert beat(boot_id="a", sequence=2, ts=at(2)).status == 200

    assert statements == [("plain_heartbeats", 1), ("heartbeats", 1), ("plain_heartbeats", 1)]
    assert DeviceState.objects.get().sequence == 2
    assert DeviceEvent.objects.count() == 1


def test_what_cannot_be_plain_goes_to_the_full_statement_at_once(beat, statements):
    beat(sequence=1, ts=at(1))
    beat(boot_id="a", ts=at(2))
    beat(boot_id="a", sequence=3)

    assert {name for name, _ in statements} == {"heartbeats"}
    assert Heartbeat.objects.count() == 3


def test_a_heartbeat_that_is_there_already_does_not_harm_those_beside_it(door, statements):
    devices = DeviceFactory.create_batch(2)
    ask = requests_of(devices)
    door.together([ask(device, 1) for device in devices])
    door.together([ask(device, 2) for device in devices])
    # As after a restored backup of the state: the history has what the state does not know.
    DeviceState.objects.filter(device=devices[0]).update(sequence=1)
    statements.clear()

    answers = door.together([ask(device, 2 + (device is devices[1])) for device in devices])

    assert [answer.status for answer in answers] == [200, 200]
    assert "heartbeats" in {name for name, _ in statements}
    assert Heartbeat.objects.filter(device=devices[0]).count() == 2
    assert Heartbeat.objects.filter(device=devices[1]).count() == 3


def requests_of(devices: list[Device]) -> Callable[[Device, int], Request]:
    """Return what makes a device's heartbeat; the same number is the same heartbeat."""
    start = datetime.now(UTC) - MINUTE
    secrets = {device.pk: token_of(device) for device in devices}

    def ask(device: Device, number: int, **fields: Any) -> Request:
        body = {
            "boot_id": "a",
            "sequence": number,
            "ts": (start + timedelta(seconds=number)).isoformat(),
            **fields,
        }
        url = f"/api/v1/devices/{device.device_id}/heartbeat"
        return Request(url, json.dumps(body).encode(), {"X-Device-Token": secrets[device.pk]})

    return ask


def test_health_that_changes_and_changes_back_at_once_is_told_twice(door, statements):
    (device,) = devices = [DeviceFactory()]
    ask = requests_of(devices)
    door.together([ask(device, 1)])
    before = DeviceEvent.objects.count()

    door.together([ask(device, 2, health="failed"), ask(device, 3), ask(device, 4)])

    assert DeviceEvent.objects.count() == before + 2
    assert DeviceState.objects.get().health == "healthy"
    assert Heartbeat.objects.count() == 4


def test_many_at_once_follow_each_other_and_each_is_answered_for_itself(door, statements):
    devices = DeviceFactory.create_batch(40)
    ask = requests_of(devices)
    for number in (1, 2, 3):
        calls = [ask(device, number) for device in devices]
        stranger = ask(devices[0], number)
        stranger.headers["X-Device-Token"] = "nobody"
        answers = door.together([*calls[:20], stranger, *calls[20:]])
        statuses = [answer.status for answer in answers]
        assert statuses == [200] * 20 + [401] + [200] * 20

    assert Heartbeat.objects.count() == 120
    assert set(DeviceState.objects.values_list("sequence", flat=True)) == {3}
    assert {name for name, _ in statements} == {"plain_heartbeats", "heartbeats"}


def test_a_statement_that_cannot_be_made_is_answered_and_forgotten(beat, monkeypatch):
    def broken(_items: list[Waiting]) -> gatherer.Batch:
        raise ValueError("no such number")

    with monkeypatch.context() as patch:
        patch.setattr(gatherer, "_batch", broken)
        assert beat(boot_id="a", sequence=1, ts=at(1)).status == 503

    assert beat(boot_id="a", sequence=1, ts=at(1)).status == 200


def test_the_ids_in_an_answer_are_for_the_full_statement_only(connection):
    now = clock.now()
    state = {"boot_id": "a", "sequence": 1, "health": "healthy", "health_since": now, "at": now}
    body = {"ts": now.isoformat(), "boot_id": "a", "sequence": 2}
    unused = sent({}, state, {"confirmed_at": None}, body, "", [])

    assert said(connection, PLAIN_HEARTBEATS.of([unused.row])) == []
    (reply,) = said(connection, HEARTBEATS.of([unused.row]))
    assert reply.first_use
    assert UUID(bytes=reply.first_use)

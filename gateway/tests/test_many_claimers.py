"""Claims of one device from many sides: each command once, in turn, and nobody waits for ever."""

import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from commands.models import Command
from commands.tests.factories import CommandFactory
from common import clock, db
from devices.models import Device
from devices.tests.factories import DeviceFactory, token_of
from gateway import claims, database, rounds
from gateway.tests.door import Call, Door
from gateway.tests.test_trouble import PATIENCE_S, eventually

pytestmark = pytest.mark.xdist_group("gateway")


@pytest.fixture
def other_door(transactional_db: None) -> Iterator[Door]:
    """Another gateway process on the same database."""
    opened = Door()
    yield opened
    opened.close()


def claim_of(device: Device, token: str, query: str = "") -> Call:
    url = f"/api/v1/devices/{device.device_id}/commands/claim{query}"
    return Call(url, headers={"X-Device-Token": token})


def ids(answer: Any) -> list[str]:
    assert answer.status == 200
    return [command["id"] for command in answer.json()["commands"]]


def test_fifty_claimers_at_two_gateways_share_what_there_is(door, other_door, device, token):
    second_token = token_of(device)
    wanted = {str(CommandFactory(device=device, sequence=number).pk) for number in range(100)}

    def take(number: int) -> list[str]:
        at = (door, other_door)[number % 2]
        return ids(at.call(claim_of(device, (token, second_token)[number % 3 // 2], "?max=2")))

    with ThreadPoolExecutor(50) as claimers:
        taken = Counter(pk for found in claimers.map(take, range(150)) for pk in found)

    assert set(taken) == wanted
    assert set(taken.values()) == {1}
    assert set(Command.objects.values_list("attempt", flat=True)) == {1}


def test_claims_asked_together_are_dealt_out_in_order(door, device, token):
    made = [str(CommandFactory(device=device, sequence=number).pk) for number in range(5)]

    answers = door.together([claim_of(device, token, "?max=2") for _ in range(4)])

    dealt = [ids(answer) for answer in answers]
    assert [len(found) for found in dealt] == [2, 2, 1, 0]
    assert [pk for found in dealt for pk in found] == made


def test_strangers_in_one_statement_get_their_own(door, organization):
    devices = [DeviceFactory(organization=organization) for _ in range(rounds.STATEMENT_MAX + 3)]
    calls = [claim_of(one, token_of(one)) for one in devices]
    made = [str(CommandFactory(device=one).pk) for one in devices]

    answers = door.together([*calls, claim_of(devices[0], "0" * 64)])

    assert [ids(answer) for answer in answers[:-1]] == [[pk] for pk in made]
    assert answers[-1].status == 401


def test_a_disruptive_command_of_another_gateway_is_noticed_in_the_middle(door, device, token):
    CommandFactory(device=device, disruptive=True)
    taken = {"id": str(uuid.uuid4()), "status": "delivered", "lease_expires_at": str(clock.now())}
    with psycopg.connect(database.conninfo()) as somebody:
        # Claimed at another gateway, which has not committed yet.
        somebody.execute(
            "INSERT INTO commands_command"
            " SELECT (jsonb_populate_record(c, %s)).* FROM commands_command c",
            [Jsonb(taken)],
        )
        asked = door.begin(claim_of(device, token).run(door.gateway))
        eventually(lambda: bool(waiting_for_locks()))
        somebody.commit()

    assert ids(asked.result(PATIENCE_S)) == []
    assert Command.objects.filter(status="queued").count() == 1


def waiting_for_locks() -> list[Any]:
    return db.fetch_all(
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )


def test_a_claim_that_waits_is_answered_when_the_lane_becomes_free(door, device, token):
    CommandFactory(device=device, disruptive=True, sequence=1)
    (first,) = ids(door.call(claim_of(device, token)))
    second = CommandFactory(device=device, disruptive=True, sequence=2)
    waiting = door.begin(claim_of(device, token, "?wait=30").run(door.gateway))
    eventually(lambda: door.running.claims.waiting == 1)

    Command.objects.filter(pk=first).update(status="succeeded", finished_at=clock.now())

    assert ids(waiting.result(PATIENCE_S)) == [str(second.pk)]


def test_a_claim_that_waits_is_answered_when_a_command_is_released(door, device, token):
    held = CommandFactory(device=device, held_reason="Offline for 2 days.")
    waiting = door.begin(claim_of(device, token, "?wait=30").run(door.gateway))
    eventually(lambda: door.running.claims.waiting == 1)

    Command.objects.filter(pk=held.pk).update(held_reason="")

    assert ids(waiting.result(PATIENCE_S)) == [str(held.pk)]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[claims.Waiter]:
    """Note who looks for commands."""
    noted: list[claims.Waiter] = []

    class Noted(claims.Look):
        def __init__(self, waiter: claims.Waiter) -> None:
            super().__init__(waiter)
            noted.append(waiter)

    monkeypatch.setattr(claims, "Look", Noted)
    return noted


def test_a_wish_to_cancel_wakes_no_claim(looks, door, device, token):
    now = clock.now()
    command = CommandFactory(device=device)
    door.call(claim_of(device, token))
    waiting = door.begin(claim_of(device, token, "?wait=1").run(door.gateway))
    eventually(lambda: door.running.claims.waiting == 1)
    Command.objects.filter(pk=command.pk).update(
        cancel_requested_at=now, cancel_deadline=now + timedelta(minutes=1)
    )

    assert ids(waiting.result(PATIENCE_S)) == []
    assert len(looks) == 2


@pytest.mark.parametrize("heard_of", [True, False])
def test_what_is_queued_during_the_first_look_leads_to_another(
    looks, door, device, token, monkeypatch, heard_of
):
    tell = claims.Claims.tell

    def meanwhile(self: Any, asks: Any, replies: Any, heard: Any) -> None:
        if heard_of and len(looks) == 1:
            heard.add(device.pk)
        tell(self, asks, replies, heard)

    monkeypatch.setattr(claims.Claims, "tell", meanwhile)

    assert ids(door.call(claim_of(device, token, "?wait=1"))) == []
    assert len(looks) == 1 + heard_of

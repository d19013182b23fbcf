"""Claims: every command goes out once, at once, with a lease."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from commands.models import Command
from commands.tests.factories import CommandFactory
from common import clock, limits
from devices.models import Device
from devices.tests.factories import DeviceFactory, token_of


@pytest.fixture
def claim(gateway, device):
    secret = token_of(device)

    def post(query="", device_id=device.device_id, secret=secret):
        return gateway.post(
            f"/api/v1/devices/{device_id}/commands/claim{query}", None, {"X-Device-Token": secret}
        )

    return post


def test_a_claimed_command_has_the_shape_agents_rely_on(claim, device):
    queued = CommandFactory(device=device, payload={"delay_seconds": 5})

    (command,) = claim().json()["commands"]

    assert set(command) == {
        *("id", "type", "payload", "attempt", "sequence", "lease_expires_at", "expires_at"),
        *("run_timeout_s", "disruptive"),
    }
    assert (command["id"], command["type"], command["attempt"]) == (str(queued.pk), "reboot", 1)
    assert command["payload"] == {"delay_seconds": 5}
    queued.refresh_from_db()
    assert queued.status == "delivered"
    assert queued.lease_expires_at - queued.delivered_at == limits.COMMAND_LEASE


def test_urgent_ones_go_first_and_others_in_their_order(claim, device):
    for kind, priority, sequence in [("bundle", 0, 2), ("reboot", 0, 1), ("config", 5, 3)]:
        CommandFactory(device=device, kind=kind, priority=priority, sequence=sequence)

    assert [c["type"] for c in claim("?max=10").json()["commands"]] == [
        "config",
        "reboot",
        "bundle",
    ]


def test_nothing_is_handed_out_that_is_over_or_somebody_elses(claim, device):
    now = clock.now()
    CommandFactory(device=device, created_at=now, expires_at=now - timedelta(seconds=1))
    CommandFactory(device=DeviceFactory(organization=device.organization))

    assert claim("?max=10").json() == {"commands": []}


def test_a_pending_device_gets_nothing(claim, device):
    CommandFactory(device=device)
    Device.objects.filter(pk=device.pk).update(lifecycle="pending")

    assert claim().json() == {"commands": []}


def test_a_device_claims_for_itself_only(claim, device):
    other = DeviceFactory(organization=device.organization)

    foreign, absent = claim(device_id=other.device_id), claim(device_id="absent")

    assert (foreign.status, foreign.body) == (404, absent.body)
    assert claim(secret="0" * 64).status == 401


@pytest.mark.parametrize("query", ["?wait=61", "?wait=-1", "?max=0", "?max=11", "?wait=x"])
def test_bounds_are_kept(claim, query):
    answer = claim(query)

    assert (answer.status, answer.content_type) == (422, "application/problem+json")


def test_fifty_claimers_never_get_the_same_command_twice(gateway, device):
    secret = token_of(device)
    wanted = {str(CommandFactory(device=device).pk) for _ in range(100)}
    url = f"/api/v1/devices/{device.device_id}/commands/claim?max=1"

    def take(_):
        answer = gateway.post(url, None, {"X-Device-Token": secret})
        return [command["id"] for command in answer.json()["commands"]]

    with ThreadPoolExecutor(50) as claimers:
        taken = Counter(pk for ids in claimers.map(take, range(150)) for pk in ids)

    assert set(taken) == wanted
    assert set(taken.values()) == {1}


def test_who_waits_hears_of_a_new_command_at_once(claim, device):
    heard: list[float] = []

    def wait():
        answer = claim("?wait=20")
        heard.append(time.monotonic())
        assert len(answer.json()["commands"]) == 1

    waiting = threading.Thread(target=wait)
    waiting.start()
    # The claim below proves that the gateway is up; the one above waits by then or looks again.
    assert claim("?wait=1").json() == {"commands": []}
    queued_at = time.monotonic()
    CommandFactory(device=device)
    waiting.join(20)

    assert heard, "the claim never came back"
    assert heard[0] - queued_at < 10


def test_a_wait_ends_empty_when_nothing_comes(claim):
    began = time.monotonic()

    assert claim("?wait=1").json() == {"commands": []}
    assert time.monotonic() - began >= 1


def test_a_command_that_was_put_back_is_handed_out_as_another_attempt(claim, device):
    command = CommandFactory(device=device)
    claim()
    Command.objects.filter(pk=command.pk).update(status="queued", lease_expires_at=None)

    (again,) = claim().json()["commands"]

    assert again["attempt"] == 2

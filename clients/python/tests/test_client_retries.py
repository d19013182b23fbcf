"""What is sent again, with which key, and when it is given up."""

from __future__ import annotations

import socket

import pytest
from faulty_portal import API_KEY, FaultyPortal, Reply, problem

from fleet_client import (
    NO_RETRIES,
    AnswerUnusable,
    Conflict,
    FleetClient,
    Invalid,
    PortalFault,
    RateLimited,
    Retries,
    Unavailable,
    Unreachable,
)
from fleet_client.core import Core
from fleet_client.credentials import Credentials
from fleet_client.steps import Answer, Pause, Send

QUEUED = Reply({"id": "c-1", "status": "queued"}, 201)
PATH = "/devices/kiosk-1/commands"
CUT = Reply(cut_after=0)
HALF = Reply({"id": "c-1", "status": "queued"}, 201, cut_after=10)


def queue(fleet):
    return fleet.commands.queue("kiosk-1", "reboot")


@pytest.mark.parametrize(
    "fault",
    [
        CUT,
        HALF,
        problem(503, "overloaded", "Come back.", headers={"Retry-After": "0"}),
        problem(429, "too_many", "Slower."),
        problem(409, "idempotency_in_progress", "It runs.", headers={"Retry-After": "0"}),
        Reply(b"<html>bad gateway</html>", 502),
        Reply(b"", 504),
    ],
    ids=["no answer", "half an answer", "503", "429", "409 in progress", "502", "504"],
)
def test_a_passing_fault_is_met_with_the_same_request_and_the_same_key(portal, do, fault):
    portal.on("POST", PATH, fault, fault, QUEUED)

    command = do(queue)

    assert command.id == "c-1"
    assert len(portal.seen) == 3
    assert len({request.key for request in portal.seen}) == 1
    assert portal.seen[0].body == portal.seen[2].body


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (problem(409, "version_conflict", "It moved on."), Conflict),
        (problem(422, "idempotency_key_reused", "Another body."), Invalid),
        (problem(500, "internal_error", "A fault."), PortalFault),
    ],
)
def test_a_refusal_is_not_sent_again(portal, do, answer, kind):
    portal.on("POST", PATH, answer)

    with pytest.raises(kind):
        do(queue)

    assert len(portal.seen) == 1


def test_a_fault_that_stays_is_raised_after_the_last_attempt(portal, do):
    portal.on("POST", PATH, problem(503, "overloaded", "The queue is full."))

    with pytest.raises(Unavailable, match="The queue is full") as error:
        do(queue)

    assert error.value.code == "overloaded"
    assert len(portal.seen) == 4


def test_nobody_waits_longer_than_their_patience(portal, do):
    portal.on("POST", PATH, problem(429, "slow", "Wait.", headers={"Retry-After": "3600"}))

    with pytest.raises(RateLimited) as error:
        do(queue)

    assert error.value.retry_after_s == 3600
    assert len(portal.seen) == 1


def test_a_portal_that_is_not_there_is_unreachable_in_plain_words():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    quick = Retries(attempts=2, base_s=0.001)

    with (
        FleetClient(f"http://127.0.0.1:{port}", api_key=API_KEY, retries=quick) as fleet,
        pytest.raises(Unreachable, match="connection refused"),
    ):
        fleet.devices.get("kiosk-1")


@pytest.fixture
def silent_address():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


def test_a_portal_that_says_nothing_is_given_up(silent_address):
    with (
        FleetClient(silent_address, api_key=API_KEY, timeout=0.1, retries=NO_RETRIES) as fleet,
        pytest.raises(Unreachable, match="did not answer in time"),
    ):
        fleet.devices.get("kiosk-1")


# --- the pauses, seen by carrying out the core's steps by hand ---


def core(**retries):
    return Core(
        base_url="https://portal.example.org",
        credentials=Credentials(api_key=API_KEY),
        organization=None,
        retries=Retries(**retries),
    )


def carry_out(flow, answer, found):
    """Answer every request alike; note the pauses."""
    step = next(flow)
    while True:
        if isinstance(step, Pause):
            found.append(step.seconds)
            step = flow.send(None)
        else:
            assert isinstance(step, Send)
            step = flow.send(answer)


def pauses(flow, answer):
    """Return the pauses of a flow until it gives up."""
    found = []
    with pytest.raises(Unavailable):
        carry_out(flow, answer, found)
    return found


def test_pauses_grow_are_spread_and_have_a_cap():
    overloaded = Answer(503, {}, b"")
    runs = [
        pauses(core(attempts=6, base_s=1, cap_s=4).ask("GET", "/devices"), overloaded)
        for _ in range(50)
    ]

    for number, longest in enumerate([1, 2, 4, 4, 4]):
        seen = [run[number] for run in runs]
        assert all(0 <= pause <= longest for pause in seen)
        assert max(seen) - min(seen) > longest / 4


def test_what_the_portal_asks_for_is_waited_in_full():
    found = pauses(
        core(attempts=3, base_s=1).ask("GET", "/devices"), Answer(503, {"retry-after": "7"}, b"")
    )

    assert len(found) == 2
    assert all(pause >= 7 for pause in found)


def test_pauses_together_stay_within_the_patience():
    found = pauses(
        core(attempts=100, base_s=0.1, patience_s=25).ask("GET", "/devices"),
        Answer(503, {"retry-after": "7"}, b""),
    )

    assert sum(found) <= 25
    assert len(found) == 3


@pytest.fixture
def other_portal():
    faulty = FaultyPortal()
    yield faulty
    faulty.stop()


def test_a_redirect_is_not_followed_with_the_key(portal, other_portal, do):
    target = f"{other_portal.url}/api/v1/devices/kiosk-1"
    portal.on("GET", "/devices/kiosk-1", Reply(b"", 302, {"Location": target}))

    with pytest.raises(AnswerUnusable, match="redirects to"):
        do(lambda fleet: fleet.devices.get("kiosk-1"))

    assert other_portal.seen == []

"""Following a rollout by the event stream, and without one."""

from __future__ import annotations

import json
import threading
from itertools import chain, repeat

import anyio
import pytest
from faulty_portal import API_KEY, Reply, problem

from fleet_client import AsyncFleetClient, FleetClient, Forbidden, NotFound, WaitTimeout, following
from fleet_client.cli.program import main
from fleet_client.events import EventReader
from fleet_client.models import RolloutEvent, RolloutStanding, UpdateMove
from fleet_client.polling import Pace

PLACE = "/rollouts/r-1"
STREAM = {"Content-Type": "text/event-stream; charset=utf-8"}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(Pace.__init__, "__kwdefaults__", {"first_s": 0.01, "longest_s": 0.02})
    monkeypatch.setattr(following, "RETRY_MS", 10)


@pytest.fixture
def story(portal):
    """The lines the portal holds; what is appended was added to the story."""
    lines = [line(1, "start")]
    portal.on("GET", f"{PLACE}/events", lambda _: Reply({"next": None, "results": lines[::-1]}))
    return lines


def line(pk, kind):
    at = "2026-03-01T12:00:00Z"
    return {"id": pk, "rollout": "r-1", "at": at, "kind": kind, "message": kind, "details": {}}


def standing(status, **by_state):
    members = {"name": "Release 1.5.0", "release": "1.5.0", "reason": "", "total": 2}
    return {"id": "r-1", "status": status, **members, "by_state": by_state}


def shown(status, **by_state):
    found = standing(status, **by_state)
    return Reply({**found, "progress": {"total": 2, "by_state": by_state}})


def told(name, data, number=0):
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()


HELLO = told("hello", {"server_time": "2026-03-01T12:00:00Z", "organization": "acme"}, 1)
END = told("rollout", standing("completed", verified=2), 900)


def stream(*events, **members):
    return Reply(b"".join([HELLO, *events]), headers=STREAM, **members)


def watch(do, **settings):
    news = do(lambda fleet: fleet.rollouts.watch("r-1"), **settings)
    return [
        one.id if isinstance(one, RolloutEvent) else getattr(one, "status", one) for one in news
    ]


def test_what_happens_is_told_in_records_until_the_rollout_has_ended(portal, do, story):
    move = {"update_id": 17, "device_id": "kiosk-1", "status": "installing", "step": "switch"}
    portal.on(
        "GET",
        "/stream",
        stream(
            told("rollout", standing("running", waiting=2)),
            told("rollout_event", line(2, "promote")),
            b": still here\n\n",
            told("of_later", {"new": True}),
            told("update", move),
            END,
            told("rollout_event", line(3, "after the end")),
        ),
    )

    news = do(lambda fleet: fleet.rollouts.watch("r-1"))

    assert [type(one) for one in news] == [
        RolloutStanding,
        RolloutEvent,
        UpdateMove,
        RolloutStanding,
    ]
    first, event, update, last = news
    assert (first.status, first.by_state, last.status) == ("running", {"waiting": 2}, "completed")
    assert (event.id, event.kind, event.at.year) == (2, "promote", 2026)
    assert (update.device_id, update.step) == ("kiosk-1", "switch")
    (asked,) = portal.asked("/stream")
    assert asked.query == {"rollout": ["r-1"]}
    assert asked.headers["accept"] == "text/event-stream"
    assert "last-event-id" not in asked.headers


def test_after_a_cut_the_next_stream_goes_on_and_nothing_is_told_twice(portal, do, story):
    running = told("rollout", standing("running"), 10)
    second = told("rollout_event", line(2, "promote"), 11)
    begins = len(HELLO + running + second)
    portal.on(
        "GET",
        "/stream",
        stream(running, second, told("rollout_event", line(3, "pause"), 12), cut_after=begins + 20),
        stream(running, second, told("rollout_event", line(3, "pause"), 21), END),
    )

    assert watch(do) == ["running", 2, 3, "completed"]
    assert portal.asked("/stream")[1].headers["last-event-id"] == "11"


def test_a_stream_that_says_good_bye_is_opened_again_when_it_said(portal, do, story):
    bye = b"retry: 5\n" + told("bye", {"retry_ms": 5}, 12)
    portal.on("GET", "/stream", stream(told("rollout", standing("running")), bye), stream(END))

    assert watch(do) == ["running", "completed"]
    assert portal.asked("/stream")[1].headers["last-event-id"] == "12"


def test_what_a_stream_missed_is_looked_up(portal, do, story):
    def stumbling():
        yield HELLO
        story.extend([line(2, "pause"), line(3, "resume")])
        yield told("missed", {}) + told("rollout_event", line(3, "resume"))
        story.append(line(4, "complete"))
        yield END

    portal.on("GET", "/stream", lambda _: Reply(stumbling(), headers=STREAM))

    assert watch(do) == [2, 3, 4, "completed"]


@pytest.mark.parametrize(
    "refusal",
    [
        problem(429, "too_many_streams", "Close one first."),
        problem(503, "overloaded", "Later."),
        Reply(b"<html>Sign in</html>"),
        Reply(b"", headers=STREAM),
        Reply(cut_after=0),
        Reply(b"data: [1]\n\n", headers=STREAM),
    ],
    ids=["refused", "overloaded", "another page", "nothing", "cut", "no objects"],
)
def test_where_there_is_no_stream_the_portal_is_asked(portal, do, story, refusal):
    def ends(_request):
        story.append(line(2, "complete"))
        return shown("completed", verified=2)

    portal.on("GET", "/stream", refusal)
    portal.on("GET", PLACE, shown("running", waiting=2), shown("running", waiting=2), ends)

    assert watch(do) == ["running", 2, "completed"]
    assert len(portal.asked("/stream")) == 1


def test_after_asking_for_a_while_a_stream_is_tried_again(portal, do, story, monkeypatch):
    monkeypatch.setattr(following, "ASKING_S", 0)
    refusal = problem(429, "too_many_streams", "Close one first.")
    portal.on("GET", "/stream", refusal, stream(told("rollout", standing("running")), END))
    portal.on("GET", PLACE, shown("running"))

    assert watch(do) == ["running", "completed"]


def test_a_token_that_ends_is_renewed_for_the_next_stream(portal, do, story):
    portal.on("GET", "/stream", problem(401, "authentication_failed", "Expired."), stream(END))
    pair = {"access": "access-two", "refresh": "refresh-two", "expires_in": 900}
    portal.on("POST", "/auth/refresh", Reply(pair))

    assert watch(do, token="access-one", refresh_token="refresh-one") == ["completed"]
    assert portal.asked("/stream")[1].headers["authorization"] == "Bearer access-two"


def test_a_stream_that_may_not_be_had_is_an_error(portal, do, story):
    portal.on("GET", "/stream", problem(403, "not_allowed", "Ask an admin."))
    with pytest.raises(Forbidden):
        watch(do)

    portal.on("GET", f"{PLACE}/events", problem(404, "not_found", "Nothing is there."))
    with pytest.raises(NotFound):
        watch(do)


def test_watching_has_a_limit_and_says_where_it_stands(portal, do, story):
    ticks = repeat(b": still here\n\n")
    endless = chain([HELLO, told("rollout", standing("running"))], ticks)
    portal.on("GET", "/stream", Reply((piece for piece in endless), headers=STREAM))

    with pytest.raises(WaitTimeout, match=r"r-1 is running after 0\.05 s"):
        do(lambda fleet: fleet.rollouts.watch("r-1", timeout=0.05))


class Endless:
    """A stream that goes on; its second event comes when the first was heard."""

    def __init__(self, portal):
        self.heard, self.hung_up = threading.Event(), threading.Event()
        portal.on("GET", "/stream", Reply(self._pieces(), headers=STREAM))

    def _pieces(self):
        try:
            yield HELLO + told("rollout", standing("running"))
            assert self.heard.wait(5)
            yield told("rollout_event", line(2, "promote"))
            yield from repeat(b": still here\n\n")
        finally:
            self.hung_up.set()


def test_news_come_as_they_happen_and_who_stops_hangs_up(portal, story):
    endless = Endless(portal)
    with FleetClient(portal.url, api_key=API_KEY) as fleet:
        news = fleet.rollouts.watch("r-1")
        assert next(news).status == "running"
        endless.heard.set()
        assert next(news).id == 2
        news.close()
        assert endless.hung_up.wait(5)


def test_a_coroutine_that_stops_hangs_up_too(portal, story):
    endless = Endless(portal)

    async def run():
        async with AsyncFleetClient(portal.url, api_key=API_KEY) as fleet:
            news = fleet.rollouts.watch("r-1")
            assert (await news.__anext__()).status == "running"
            endless.heard.set()
            assert (await news.__anext__()).id == 2
            await news.aclose()
            assert endless.hung_up.wait(5)

    anyio.run(run)


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_events_are_read_wherever_the_pieces_end(size):
    body = 'retry: 70\r\nid: 5\r\nevent: tell\r\ndata: {"text":\ndata:"süß"}\r\n\r\n'.encode()
    reader = EventReader()

    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    (event,) = [event for piece in pieces for event in reader.read(piece)]

    assert (event.id, event.name, event.data) == ("5", "tell", {"text": "süß"})
    assert reader.retry_ms == 70


# --- the program ---


@pytest.mark.parametrize(("end", "status"), [("completed", 0), ("halted", 1)])
def test_the_program_prints_what_happens(portal, story, monkeypatch, capsys, end, status):
    monkeypatch.setenv("FLEET_URL", portal.url)
    monkeypatch.setenv("FLEET_API_KEY", API_KEY)
    last = {**standing(end, failed=2), "reason": "Too many failed."}
    move = {"update_id": 17, "device_id": "kiosk-1", "status": "failed", "error": "no space"}
    events = [
        told("rollout_event", line(2, "promote")),
        told("update", move),
        told("rollout", last),
    ]
    portal.on("GET", "/stream", stream(*events))

    def run(*options):
        with pytest.raises(SystemExit) as ended:
            main(["rollouts", "watch", "r-1", *options])
        assert (ended.value.code or 0) == status
        return capsys.readouterr()

    printed = run()
    assert printed.out.splitlines() == ["2026-03-01 12:00:00Z promote: promote", f"{end}: failed 2"]
    assert ("Too many failed." in printed.err) == bool(status)
    assert "kiosk-1 failed no space" in run("--devices").out
    first, _ = json.JSONDecoder().raw_decode(run("--json").out)
    assert first == line(2, "promote")

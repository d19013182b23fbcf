from __future__ import annotations

import time

import pytest

from fleet_agent.errors import PortalError
from fleet_agent.portal import PortalClient
from fleet_agent.stream_loop import Event, StreamLoop, read_events


def events(text):
    return list(read_events(bytes([byte]) for byte in text.encode()))


def paths(portal, part):
    return [request for request in portal.requests if part in request[1]]


@pytest.fixture
def streaming(portal):
    portal.has_stream = True
    portal.next_heartbeat_s = 60.0
    # The first claim goes out before the stream is up.
    portal.max_hold_s = 0.5
    return portal


def begin(agent, portal):
    agent.start()
    portal.until(lambda: portal.streams_open and paths(portal, "/claim?wait=0"))


def test_events_and_comments_are_read_as_they_come():
    text = ": hi\n\nid: 4\r\nevent: hello\r\ndata: {\r\ndata: }\r\n\r\nevent: bye\ndata:{}\n\n"

    assert events(text) == [Event(), Event("hello", "{\n}"), Event("bye", "{}")]


@pytest.mark.parametrize("text", ["event: x\ndata: cut off in the mid", "retry: 5\n\n", "\n\n\n"])
def test_what_is_no_whole_event_is_no_event(text):
    assert events(text) == []


@pytest.mark.parametrize("data", ["no json", "[1]", "", "\udcff"])
def test_an_event_with_odd_data_has_no_fields(data):
    assert Event("hello", data).fields() == {}


def test_an_endless_line_is_not_believed():
    with pytest.raises(PortalError):
        list(read_events(b"x" * 1000 for _ in range(1000)))


def test_a_queued_command_begins_within_a_second(agent, streaming, programs):
    programs("systemctl", "echo done")
    begin(agent, streaming)

    streaming.queue("c1", "ping", {})
    queued = time.monotonic()
    streaming.until(streaming.ended("c1"), seconds=5)

    assert time.monotonic() - queued < 1.0
    assert streaming.status_of("c1") == "succeeded"


def test_there_is_one_stream_and_one_claim_at_a_time(agent, streaming, programs):
    begin(agent, streaming)
    for number in range(20):
        streaming.queue(f"c{number}", "ping", {})
    streaming.until(lambda: all(streaming.ended(f"c{number}")() for number in range(20)))

    assert streaming.most_streams_open == 1
    assert streaming.most_claims_open == 1


def test_an_idle_device_with_a_stream_asks_for_nothing(agent, streaming, programs):
    begin(agent, streaming)
    claims = len(paths(streaming, "/claim"))
    # A whole round by stream in between, instead of a wait.
    streaming.queue("c1", "ping", {})
    streaming.until(streaming.ended("c1"))
    streaming.until(lambda: len(paths(streaming, "/claim")) >= claims + 2)

    # One that was woken, one that found nothing more; none is held open.
    assert streaming.claims_open == 0
    assert len(paths(streaming, "/claim")) <= claims + 3


def test_the_wait_of_a_bye_is_kept_and_the_stream_comes_back(agent, streaming, programs):
    begin(agent, streaming)

    with streaming.changed:
        streaming.bye = {"retry_ms": 1500}
        streaming.changed.notify_all()
    streaming.until(lambda: not streaming.streams_open)
    gone = time.monotonic()
    streaming.until(lambda: streaming.streams_open)

    assert 1.2 <= time.monotonic() - gone <= 2.5


@pytest.mark.parametrize("status", [404, 501, 503])
def test_without_a_stream_commands_come_by_long_poll(agent, portal, status):
    portal.has_stream = True
    portal.fail("/stream", status=status, count=999)
    portal.next_heartbeat_s = 60.0
    agent.start()
    portal.until(lambda: portal.claims_open)

    portal.queue("c1", "ping", {})
    portal.until(portal.ended("c1"), seconds=3)

    assert "wait=25" in paths(portal, "/claim")[0][1]
    assert len(paths(portal, "/stream")) <= 3


def test_a_stream_that_breaks_leaves_no_gap(agent, streaming, programs):
    begin(agent, streaming)

    streaming.has_stream = False
    streaming.until(lambda: any("wait=25" in r[1] for r in paths(streaming, "/claim")))
    streaming.queue("c1", "ping", {})

    streaming.until(streaming.ended("c1"), seconds=3)


def test_a_retry_after_of_the_stream_is_kept(agent, portal):
    portal.has_stream = True
    portal.fail("/stream", status=429, headers={"Retry-After": "2"}, count=1)
    agent.start()

    portal.until(lambda: portal.streams_open)

    assert len(paths(portal, "/stream")) == 2


def test_a_running_script_is_cancelled_by_stream(agent, streaming, signer, tmp_path):
    with (tmp_path / "fleet.conf").open("a") as stream:
        stream.write("ALLOW_SCRIPTS=true\n")
    begin(agent, streaming)
    streaming.queue("c1", "run_script", signer.store("c1", "while :; do /bin/sleep 0.1; done"))
    streaming.until(lambda: streaming.status_of("c1") == "running")

    streaming.cancel("c1")
    streaming.until(streaming.ended("c1"), seconds=5)

    assert streaming.status_of("c1") == "cancelled"


def test_output_is_shown_while_the_script_runs_at_most_once_a_second(
    agent, streaming, signer, tmp_path
):
    with (tmp_path / "fleet.conf").open("a") as stream:
        stream.write("ALLOW_SCRIPTS=true\n")
    body = "for i in 1 2 3 4 5 6 7 8; do echo line $i; /bin/sleep 0.4; done"
    begin(agent, streaming)
    streaming.queue("c1", "run_script", signer.store("c1", body))

    streaming.until(lambda: streaming.output_of("c1"))
    assert streaming.status_of("c1") == "running"
    streaming.until(streaming.ended("c1"))

    times = streaming.output_times
    assert streaming.output_of("c1") == "".join(f"line {i}\n" for i in range(1, 9))
    assert len(times) >= 2
    assert min(later - sooner for sooner, later in zip(times, times[1:])) > 0.9


def test_a_killed_agent_finds_its_script_again_and_tells_the_output_once(
    agent, portal, signer, tmp_path
):
    with (tmp_path / "fleet.conf").open("a") as stream:
        stream.write("ALLOW_SCRIPTS=true\n")
    body = (
        f"echo x >> {tmp_path}/effect; for i in 1 2 3 4 5 6; do echo line $i; /bin/sleep 0.5; done"
    )
    portal.queue("c1", "run_script", signer.store("c1", body))
    agent.start()
    portal.until(lambda: "line 1" in portal.output_of("c1"))

    agent.kill()
    agent.start()
    portal.until(portal.ended("c1"))

    assert portal.status_of("c1") == "succeeded"
    assert portal.output_of("c1") == "".join(f"line {i}\n" for i in range(1, 7))
    assert (tmp_path / "effect").read_text() == "x\n"


def test_heartbeats_go_on_while_a_script_of_an_earlier_run_is_waited_for(
    agent, portal, signer, tmp_path
):
    with (tmp_path / "fleet.conf").open("a") as stream:
        stream.write("ALLOW_SCRIPTS=true\n")
    portal.next_heartbeat_s = 0.5
    portal.queue("c1", "run_script", signer.store("c1", "/bin/sleep 4"))
    agent.start()
    portal.until(lambda: portal.status_of("c1") == "running")
    agent.kill()
    agent.start()
    seen = len(portal.heartbeats)

    portal.until(lambda: len(portal.heartbeats) >= seen + 2)

    assert portal.status_of("c1") == "running"
    portal.until(portal.ended("c1"))
    assert portal.status_of("c1") in ("succeeded", "failed")


def test_events_about_updates_wake_the_updater_and_a_pause_holds_it(make_store):
    store = make_store()
    heard = []
    loop = StreamLoop(
        store=store,
        portal=PortalClient(store),
        on_commands=lambda: None,
        on_cancel=lambda *_: None,
        on_update=lambda: heard.append("update"),
        on_pause=lambda: heard.append("pause"),
    )

    for name in ("update_available", "pause", "resume", "rollback"):
        loop._take(Event(name))

    assert heard == ["update", "pause", "update", "update"]

"""Waiting for an end, and following what is printed meanwhile."""

from __future__ import annotations

import pytest
from faulty_portal import Reply, problem

from fleet_client import WaitTimeout
from fleet_client.polling import Pace


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    quick = {"first_s": 0.01, "longest_s": 0.02}
    monkeypatch.setattr(Pace.__init__, "__kwdefaults__", quick)


def command(status, **members):
    return Reply({"id": "c-1", "status": status, **members})


def output(attempt, chunks, *, done=False, status="running"):
    rows = [{"index": index, "text": text, "at": "2026-03-01T12:00:00Z"} for index, text in chunks]
    return Reply(
        {
            "attempt": attempt,
            "chunks": rows,
            "next_index": rows[-1]["index"] + 1 if rows else 0,
            "status": status,
            "done": done,
        }
    )


def test_waiting_ends_with_the_command(portal, do):
    moves = []
    portal.on(
        "GET",
        "/commands/c-1",
        command("queued"),
        command("queued"),
        problem(503, "overloaded", "Later.", headers={"Retry-After": "0"}),
        command("running"),
        command("failed", error="no such unit"),
    )

    ended = do(
        lambda fleet: fleet.commands.wait(
            "c-1", timeout=10, on_change=lambda seen: moves.append(seen.status)
        )
    )

    assert ended.is_done
    assert not ended.has_succeeded
    assert ended.error == "no such unit"
    assert moves == ["queued", "running", "failed"]


def test_waiting_has_a_limit_and_says_where_it_stands(portal, do):
    portal.on("GET", "/commands/c-1", command("running"))

    with pytest.raises(WaitTimeout, match=r"c-1 is running after 0\.05 s"):
        do(lambda fleet: fleet.commands.wait("c-1", timeout=0.05))

    with pytest.raises(TimeoutError):
        do(lambda fleet: fleet.commands.wait("c-1", timeout=0))


def test_output_is_followed_to_the_end_without_a_piece_twice(portal, do):
    portal.on(
        "GET",
        "/commands/c-1/output",
        output(1, []),
        output(1, [(0, "one "), (1, "two ")]),
        output(1, [(1, "two "), (2, "three ")]),
        output(1, [(3, "four")], done=True, status="succeeded"),
    )

    chunks = do(lambda fleet: fleet.commands.output("c-1"))

    assert "".join(chunk.text for chunk in chunks) == "one two three four"
    assert [request.query.get("after") for request in portal.seen] == [None, None, ["1"], ["2"]]


def test_a_further_attempt_prints_from_its_own_beginning(portal, do):
    def answer(request):
        if len(portal.seen) == 1:
            return output(1, [(0, "first"), (1, " try")])
        everything = [(0, "second"), (1, " try"), (2, "!")]
        after = int(request.query.get("after", ["-1"])[0])
        return output(2, [chunk for chunk in everything if chunk[0] > after], done=True)

    portal.on("GET", "/commands/c-1/output", answer)

    chunks = do(lambda fleet: fleet.commands.output("c-1"))

    assert [(chunk.attempt, chunk.text) for chunk in chunks] == [
        (1, "first"),
        (1, " try"),
        (2, "second"),
        (2, " try"),
        (2, "!"),
    ]


def test_output_that_is_not_followed_is_what_is_there(portal, do):
    portal.on("GET", "/commands/c-1/output", output(2, [(0, "so far")]))

    chunks = do(lambda fleet: fleet.commands.output("c-1", attempt=2, follow=False))

    assert [chunk.text for chunk in chunks] == ["so far"]
    assert portal.seen[0].query == {"attempt": ["2"]}


def test_a_batch_tells_its_progress_until_it_has_ended(portal, do):
    def batch(status, wave, **counts):
        return Reply(
            {"id": "b-1", "status": status, "wave": wave, "progress": {"by_status": counts}}
        )

    seen = []
    portal.on(
        "GET",
        "/batches/b-1",
        batch("running", 0, queued=2),
        batch("running", 0, queued=2),
        batch("running", 1, queued=1, succeeded=1),
        batch("completed", 1, succeeded=2),
    )

    ended = do(
        lambda fleet: fleet.batches.wait(
            "b-1", timeout=10, on_progress=lambda b: seen.append((b.status, b.wave))
        )
    )

    assert ended.status == "completed"
    assert seen == [("running", 0), ("running", 1), ("completed", 1)]

"""Rollouts: planned, steered, waited for; and the program around them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from faulty_portal import API_KEY, Reply, problem

from fleet_client import Conflict, WaitTimeout
from fleet_client.cli.program import main
from fleet_client.polling import Pace

PLACE = "/rollouts/r-1"
FAILURE = {
    "status": "rolled_back",
    "failure_class": "install",
    "error_code": "start_failed",
    "error": "no such library",
    "count": 3,
    "devices": ["kiosk-1", "kiosk-2"],
}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(Pace.__init__, "__kwdefaults__", {"first_s": 0.01, "longest_s": 0.02})


@pytest.fixture
def run(portal, monkeypatch, capsys):
    """Run the program; return its status, what it answered and what it said beside that."""
    monkeypatch.setenv("FLEET_URL", portal.url)
    monkeypatch.setenv("FLEET_API_KEY", API_KEY)

    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, beside = capsys.readouterr()
        return ended.value.code or 0, out, beside

    return call


def rollout(status, *, stages=(), failures=(), **members):
    by_state = members.pop("by_state", {"waiting": 2})
    return Reply(
        {
            "id": "r-1",
            "name": "Release 1.5.0",
            "release": "1.5.0",
            "status": status,
            "total": 2,
            "stages": list(stages),
            "progress": {"total": 2, "by_state": by_state, "by_segment": []},
            "failures": list(failures),
            **members,
        }
    )


def stage(segment, *, opened=False, soaks_for_s=None):
    now = datetime.now(timezone.utc)
    ends_at = None if soaks_for_s is None else (now + timedelta(seconds=soaks_for_s)).isoformat()
    return {
        "segment": segment,
        "percentage": 100,
        "opened_at": now.isoformat() if opened else None,
        "soak_ends_at": ends_at,
    }


def test_a_rollout_is_looked_at_beforehand_made_and_started(portal, do):
    portal.on("POST", "/rollouts/preview", Reply({"count": 2, "by_segment": {"canary": 2}}))
    portal.on("POST", "/rollouts/simulate", Reply({"total": 2, "stages": [{"segment": "canary"}]}))
    portal.on("POST", "/rollouts", Reply(rollout("draft").body, 201))
    portal.on("POST", f"{PLACE}/start", rollout("running", stages=[stage("canary", opened=True)]))
    selection, stages = {"tags": ["lab"]}, [{"segment": "canary"}]

    seen = do(lambda fleet: fleet.rollouts.preview("1.5.0", selection))
    told = do(lambda fleet: fleet.rollouts.simulate("1.5.0", stages=stages))
    made = do(lambda fleet: fleet.rollouts.create("1.5.0", selection=selection, stages=stages))
    begun = do(lambda fleet: fleet.rollouts.start(made.id, idempotency_key="once"))

    assert seen.by_segment == {"canary": 2}
    assert told.stages[0].segment == "canary"
    assert portal.seen[2].body == {"release": "1.5.0", "selection": selection, "stages": stages}
    assert (made.status, begun.status, begun.progress.by_state) == (
        "draft",
        "running",
        {"waiting": 2},
    )
    assert begun.stages[0].opened_at
    assert portal.seen[3].key == "once"


def test_it_is_promoted_by_segment_or_percentage_and_a_refusal_says_when(portal, do):
    ends_at = "2026-03-01T12:00:00Z"
    portal.on(
        "POST",
        f"{PLACE}/promote",
        rollout("running"),
        rollout("running"),
        problem(409, "soak_not_over", "The stage is watched until noon.", ends_at=ends_at),
    )

    do(lambda fleet: fleet.rollouts.promote("r-1", "early", reason="All is well"))
    do(lambda fleet: fleet.rollouts.promote("r-1", percentage=50))

    assert [one.body for one in portal.seen] == [
        {"targetSegment": "early", "reason": "All is well"},
        {"rolloutPercentage": 50},
    ]
    with pytest.raises(Conflict) as refusal:
        do(lambda fleet: fleet.rollouts.promote("r-1", "general"))
    assert refusal.value.code == "soak_not_over"
    assert refusal.value.problem["ends_at"] == ends_at


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("pause", "pause"),
        ("resume", "resume"),
        ("halt", "halt"),
        ("rollback", "rollback"),
        ("approve", "approve"),
        ("release_holdback", "holdback/release"),
    ],
)
def test_what_people_do_with_it_goes_with_their_reason(portal, do, verb, path):
    portal.on("POST", f"{PLACE}/{path}", rollout("paused"))

    done = do(lambda fleet: getattr(fleet.rollouts, verb)("r-1", reason="Because"))

    assert done.status == "paused"
    assert portal.seen[0].body == {"reason": "Because"}


@pytest.mark.parametrize("verb", ["promote", "pause", "resume", "rollback"])
def test_the_rollout_of_a_release_is_steered_by_its_version(portal, do, verb):
    portal.on("POST", f"/releases/1.5.0/{verb}", rollout("running"))
    members = {"reason": "Because", **({"segment": "canary"} if verb == "promote" else {})}

    done = do(lambda fleet: getattr(fleet.releases, verb)("1.5.0", **members))

    assert (done.id, done.release) == ("r-1", "1.5.0")
    named = {"targetSegment": "canary"} if verb == "promote" else {}
    assert portal.seen[0].body == {**named, "reason": "Because"}


def test_a_draft_is_changed_drilled_simulated_and_thrown_away(portal, do):
    portal.on("PATCH", PLACE, rollout("draft", rate_per_minute=None))
    portal.on("POST", f"{PLACE}/drill", rollout("draft", drill={"passed": True}))
    portal.on("GET", f"{PLACE}/simulation", Reply({"devices": [{"device_id": "kiosk-1"}]}))
    portal.on("DELETE", PLACE, Reply(status=204))

    do(lambda fleet: fleet.rollouts.update("r-1", rate_per_minute=None))
    drilled = do(lambda fleet: fleet.rollouts.drill("r-1"))
    told = do(lambda fleet: fleet.rollouts.simulation("r-1", segment="canary"))
    do(lambda fleet: fleet.rollouts.delete("r-1"))

    assert portal.seen[0].body == {"rate_per_minute": None}
    assert drilled.drill == {"passed": True}
    assert [device.device_id for device in told.devices] == ["kiosk-1"]
    assert portal.seen[2].query == {"segment": ["canary"]}


def test_its_devices_its_story_and_single_updates_are_read(portal, do):
    target = {"device_id": "kiosk-1", "state": "failed", "failure_class": "space"}
    portal.on("GET", f"{PLACE}/targets", Reply({"next": None, "results": [target]}))
    line = {"id": 7, "at": "2026-03-01T12:00:00Z", "kind": "halt", "message": "Too many failed."}
    portal.on("GET", f"{PLACE}/events", Reply({"next": None, "results": [line]}))
    update = {"update_id": 17, "status": "failed", "trail": [{"from": "offered", "to": "failed"}]}
    portal.on("GET", "/devices/kiosk-1/updates", Reply({"next": None, "results": [update]}))
    portal.on("GET", "/updates/17", Reply(update))
    portal.on("GET", PLACE, rollout("running", by_state={"failed": 1, "waiting": 1}))

    (device,) = do(lambda fleet: fleet.rollouts.targets("r-1", state=["failed"]))
    (event,) = do(lambda fleet: fleet.rollouts.events("r-1"))
    (listed,) = do(lambda fleet: fleet.devices.updates("kiosk-1", rollout="r-1"))
    read = do(lambda fleet: fleet.updates.get(17))
    progress = do(lambda fleet: fleet.rollouts.progress("r-1"))

    assert (device.device_id, device.failure_class) == ("kiosk-1", "space")
    assert portal.seen[0].query == {"state": ["failed"]}
    assert (event.id, event.kind) == (7, "halt")
    assert listed == read
    assert (read.trail[0].from_status, read.trail[0].to_status) == ("offered", "failed")
    assert progress.by_state == {"failed": 1, "waiting": 1}


@pytest.mark.parametrize("end", ["completed", "halted", "rolled_back"])
def test_waiting_ends_with_the_rollout_however_it_ends(portal, do, end):
    moves = []
    portal.on(
        "GET",
        PLACE,
        rollout("running"),
        rollout("running"),
        problem(503, "overloaded", "Later.", headers={"Retry-After": "0"}),
        rollout("running", by_state={"verified": 2}),
        rollout(end, by_state={"verified": 2}),
    )

    ended = do(
        lambda fleet: fleet.rollouts.wait(
            "r-1",
            timeout=10,
            on_progress=lambda seen: moves.append((seen.status, dict(seen.progress.by_state))),
        )
    )

    assert ended.status == end
    assert moves == [
        ("running", {"waiting": 2}),
        ("running", {"verified": 2}),
        (end, {"verified": 2}),
    ]


def test_waiting_for_a_stage_ends_with_its_soak_time_while_the_rollout_runs(portal, do):
    early = stage("early")
    portal.on(
        "GET",
        PLACE,
        rollout("running", stages=[stage("canary", opened=True), early]),
        rollout("running", stages=[stage("canary", opened=True, soaks_for_s=600), early]),
        rollout("paused", stages=[stage("canary", opened=True, soaks_for_s=-5), early]),
        rollout("running", stages=[stage("canary", opened=True, soaks_for_s=-5), early]),
    )

    reached = do(lambda fleet: fleet.rollouts.wait("r-1", timeout=10, stage="canary"))

    assert (reached.status, len(portal.seen)) == ("running", 4)


def test_a_stage_is_over_when_a_later_one_was_opened(portal, do):
    opened = [stage("canary", opened=True, soaks_for_s=600), stage("early", opened=True)]
    portal.on("GET", PLACE, rollout("running", stages=opened))

    do(lambda fleet: fleet.rollouts.wait("r-1", timeout=10, stage="canary"))

    with pytest.raises(WaitTimeout, match="r-1 is running"):
        do(lambda fleet: fleet.rollouts.wait("r-1", timeout=0, stage="early"))
    with pytest.raises(ValueError, match="no stage general: canary, early"):
        do(lambda fleet: fleet.rollouts.wait("r-1", stage="general"))


# --- the program ---


def test_the_program_plans_and_starts_in_one_line_that_can_be_repeated(portal, run):
    portal.on("POST", "/rollouts", Reply(rollout("draft").body, 201))
    portal.on("POST", f"{PLACE}/start", rollout("running"))

    status, out, _ = run(
        *("rollouts", "create", "1.5.0", "--stage", "canary:50%:120", "--stage", "general"),
        *("--tag", "lab", "--rate", "30", "--plan", '{"verify_minutes": 10}'),
        *("--start", "--key", "build 7"),
    )

    assert (status, out) == (0, "r-1 running\n")
    assert portal.seen[0].body == {
        "release": "1.5.0",
        "selection": {"tags": ["lab"]},
        "stages": [
            {"segment": "canary", "percentage": 50, "soak_minutes": 120},
            {"segment": "general"},
        ],
        "rate_per_minute": 30,
        "verify_minutes": 10,
    }
    assert [one.key for one in portal.seen] == ["build 7", "build 7 start"]


def test_a_plan_without_a_selection_leaves_it_to_the_portal(portal, run):
    portal.on("POST", "/rollouts", Reply(rollout("draft").body, 201))
    portal.on("POST", "/rollouts/preview", Reply({"count": 2, "devices": ["kiosk-1"]}))

    assert run("rollouts", "create", "1.5.0")[1] == "r-1 draft\n"
    assert "kiosk-1" in run("rollouts", "preview", "1.5.0")[1]
    assert [one.body for one in portal.seen] == [{"release": "1.5.0"}] * 2


@pytest.mark.parametrize(
    ("arguments", "path", "body"),
    [
        (["start", "r-1"], "start", {}),
        (["approve", "r-1", "--reason", "Seen"], "approve", {"reason": "Seen"}),
        (["pause", "r-1"], "pause", {}),
        (["resume", "r-1", "--reason", "Mended"], "resume", {"reason": "Mended"}),
        (["promote", "r-1", "early"], "promote", {"targetSegment": "early"}),
        (["promote", "r-1", "50%"], "promote", {"rolloutPercentage": 50}),
        (["halt", "r-1", "--reason", "Ill"], "halt", {"reason": "Ill"}),
        (["rollback", "r-1", "--reason", "Ill"], "rollback", {"reason": "Ill"}),
    ],
)
def test_the_program_steers(portal, run, arguments, path, body):
    portal.on("POST", f"{PLACE}/{path}", rollout("running"))

    assert run("rollouts", *arguments) == (0, "r-1 running\n", "")
    assert portal.seen[0].body == body


@pytest.mark.parametrize(
    "arguments",
    [
        ["halt", "r-1"],
        ["create", "1.5.0", "--stage", "canary:many"],
        ["create", "1.5.0", "--tag", "a", "--group", "b"],
        ["promote", "r-1", "many%"],
    ],
)
def test_wrong_use_reaches_no_portal(portal, run, arguments):
    assert run("rollouts", *arguments)[0] == 2
    assert portal.seen == []


def test_the_program_waits_to_a_good_end(portal, run):
    portal.on("GET", PLACE, rollout("running"), rollout("completed", by_state={"verified": 2}))

    status, out, beside = run("rollouts", "wait", "r-1")

    assert status == 0
    assert beside.splitlines() == ["running: waiting 2", "completed: verified 2"]
    assert "verified 2" in out


@pytest.mark.parametrize("end", ["halted", "rolled_back"])
def test_a_bad_end_is_a_status_a_reason_and_the_failures_by_reason(portal, run, end):
    bad = {"reason": "Half of them failed.", "failures": [FAILURE]}
    portal.on("GET", PLACE, rollout(end, **bad))

    status, out, beside = run("rollouts", "wait", "r-1", "--quiet")
    assert status == 1
    assert beside == f"fleet: rollout r-1 is {end}: Half of them failed.\n"
    assert "Half of them failed." in out
    row = next(line for line in out.splitlines() if line.startswith("3 "))
    assert row.split()[1:4] == ["rolled_back", "install", "start_failed"]
    assert "kiosk-1, kiosk-2" in row

    status, out, _ = run("rollouts", "wait", "r-1", "--json")
    assert (status, json.loads(out)) == (1, rollout(end, **bad).body)


def test_a_pipeline_waits_for_one_stage(portal, run):
    over = stage("canary", opened=True, soaks_for_s=-5)
    portal.on("GET", PLACE, rollout("running", stages=[over, stage("general")]))

    status, out, _ = run("rollouts", "wait", "r-1", "--stage", "canary")

    assert status == 0
    assert "canary" in out
    assert run("rollouts", "wait", "r-1", "--stage", "early")[0] == 2


def test_rollouts_and_their_story_are_listed(portal, run):
    portal.on("GET", "/rollouts", Reply({"next": None, "results": [rollout("paused").body]}))
    line = {"id": 7, "at": "2026-03-01T12:00:00Z", "kind": "halt", "message": "Too many failed."}
    portal.on("GET", f"{PLACE}/events", Reply({"next": None, "results": [line]}))
    portal.on("GET", PLACE, rollout("paused"))

    assert "paused" in run("rollouts", "list", "--status", "paused")[1]
    assert portal.seen[0].query == {"status": ["paused"]}
    assert "Too many failed." in run("rollouts", "events", "r-1")[1]
    assert json.loads(run("rollouts", "events", "r-1", "--json")[1]) == [line]
    assert "Release 1.5.0" in run("rollouts", "show", "r-1")[1]


def test_gates_are_shown_in_order_and_a_closed_one_is_status_1(portal, run, do):
    gates = [
        {"gate": "release", "passed": True, "seen": "published", "wanted": "published"},
        {"gate": "stage", "passed": False, "seen": "canary", "wanted": "general",
         "changes_at": "2026-03-01T12:00:00Z"},
    ]  # fmt: skip
    closed = {"eligible": False, "gates": gates, "target_version": None}
    path = "/releases/1.5.0/eligibility/kiosk-1"
    portal.on("GET", path, Reply(closed))

    status, out, beside = run("releases", "eligibility", "1.5.0", "kiosk-1")

    assert status == 1
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        ["open", "release"],
        ["closed", "stage"],
    ]
    assert "2026-03-01 12:00:00Z" in out
    assert beside == "kiosk-1 does not get 1.5.0 now: stage\n"
    assert json.loads(run("releases", "eligibility", "1.5.0", "kiosk-1", "--json")[1]) == closed
    found = do(lambda fleet: fleet.releases.eligibility("1.5.0", "kiosk-1"))
    assert [gate.gate for gate in found.closed] == ["stage"]

    portal.on("GET", path, Reply({"eligible": True, "gates": gates[:1]}))
    assert run("releases", "eligibility", "1.5.0", "kiosk-1")[::2] == (0, "")

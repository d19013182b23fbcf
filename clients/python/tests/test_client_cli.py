"""The program `fleet`, as somebody at a terminal or a script calls it."""

from __future__ import annotations

import json
import re

import pytest
from faulty_portal import API_KEY, Reply, problem

DEVICE = {
    "device_id": "kiosk-1",
    "name": "Kiosk Süd",
    "status": "healthy",
    "lifecycle": "active",
    "version": "1.4.2",
    "future": [1, 2],
}


# --- answers ---


def test_devices_are_a_table_of_aligned_columns_without_colour(portal, fleet):
    rows = [DEVICE, {**DEVICE, "device_id": "k-2", "name": "K", "status": "offline"}]
    portal.on("GET", "/devices", Reply({"count": 2, "next": None, "results": rows}))

    done = fleet("devices", "list", "--status", "healthy", "--status", "offline")

    assert done.returncode == 0
    heading, first, second = done.stdout.splitlines()
    assert heading.split() == ["DEVICE", "NAME", "STATUS", "LIFECYCLE", "VERSION", "ROLE", "SEEN"]
    assert heading.index("STATUS") == first.index("healthy") == second.index("offline")
    assert "\x1b" not in done.stdout
    assert portal.seen[0].query == {"status": ["healthy", "offline"]}
    assert portal.seen[0].headers["x-api-key"] == API_KEY


def test_json_is_what_the_portal_sent(portal, fleet):
    portal.on("GET", "/devices", Reply({"count": 1, "next": None, "results": [DEVICE]}))
    portal.on("GET", "/devices/kiosk-1", Reply(DEVICE))

    assert json.loads(fleet("devices", "list", "--json").stdout) == [DEVICE]
    assert json.loads(fleet("devices", "show", "kiosk-1", "--json").stdout) == DEVICE


def test_a_device_is_shown_with_what_is_known_of_it(portal, fleet):
    portal.on("GET", "/devices/kiosk-1", Reply({**DEVICE, "latest": {"cpu_percent": 12.5}}))

    shown = fleet("devices", "show", "kiosk-1").stdout

    assert re.search(r"^name: +Kiosk Süd$", shown, re.MULTILINE)
    assert re.search(r"^processor %: +12.5$", shown, re.MULTILINE)


def test_metrics_are_a_table_of_buckets(portal, fleet):
    point = {"at": "2026-03-01T12:00:00Z", "count": 4, "avg": 1.5, "min": 1, "max": 2, "p95": 2}
    answer = {"metric": "mem_percent", "step": 60, "points": [point]}
    portal.on("GET", "/devices/kiosk-1/metrics", Reply(answer))

    done = fleet("devices", "metrics", "kiosk-1", "--metric", "mem_percent", "--step", "60")

    assert done.stdout.splitlines()[1].split() == [
        "2026-03-01",
        "12:00:00Z",
        "4",
        "1.5",
        "1",
        "2",
        "2",
    ]


def test_nothing_found_is_said_beside_the_answer_and_can_be_silenced(portal, fleet):
    portal.on("GET", "/commands", Reply({"next": None, "results": []}))

    loud, quiet = fleet("commands", "list"), fleet("commands", "list", "--quiet")

    assert (loud.stdout, loud.stderr) == ("", "Nothing found.\n")
    assert (quiet.stdout, quiet.stderr) == ("", "")


# --- commands ---


def test_a_command_is_queued_with_its_payload_and_waited_for(portal, fleet, tmp_path):
    queued = {"id": "c-1", "device_id": "kiosk-1", "type": "config", "status": "queued"}
    portal.on("POST", "/devices/kiosk-1/commands", Reply(queued, 201))
    portal.on("GET", "/commands/c-1", Reply(queued), Reply({**queued, "status": "succeeded"}))
    (tmp_path / "payload.json").write_text('{"changes": {"LOG_LEVEL": "DEBUG"}}')

    done = fleet(
        *("commands", "queue", "kiosk-1", "config", "--payload", "@payload.json"),
        *("--priority", "high", "--run-timeout", "60", "--key", "mine", "--wait"),
    )

    assert done.returncode == 0
    assert done.stderr.splitlines() == ["c-1 queued", "c-1 succeeded"]
    (request,) = portal.asked("/devices/kiosk-1/commands")
    assert request.key == "mine"
    assert request.body == {
        "type": "config",
        "payload": {"changes": {"LOG_LEVEL": "DEBUG"}},
        "priority": "high",
        "run_timeout_s": 60,
    }


def test_a_queued_command_prints_its_id_for_the_next_line_of_a_script(portal, fleet):
    portal.on("POST", "/devices/kiosk-1/commands", Reply({"id": "c-1", "status": "queued"}, 201))

    done = fleet("commands", "queue", "kiosk-1", "reboot", "--payload", "@-", text="{}")

    assert done.stdout == "c-1\n"


def test_waiting_for_a_command_that_ends_badly_is_status_1(portal, fleet):
    ended = {"id": "c-1", "status": "failed", "error": "no such unit"}
    portal.on("GET", "/commands/c-1", Reply(ended))

    done = fleet("commands", "wait", "c-1")

    assert done.returncode == 1
    assert "no such unit" in done.stdout


def test_waiting_in_vain_is_status_1_and_says_where_it_stands(portal, fleet):
    portal.on("GET", "/commands/c-1", Reply({"id": "c-1", "status": "running"}))

    done = fleet("commands", "wait", "c-1", "--timeout", "0.1")

    assert done.returncode == 1
    assert "Command c-1 is running after 0.1 s of waiting." in done.stderr


def test_output_is_followed_and_the_status_is_the_commands(portal, fleet):
    def chunks(done, *texts):
        rows = [{"index": int(text[0]), "text": text} for text in texts]
        return Reply({"attempt": 1, "chunks": rows, "status": "running", "done": done})

    portal.on("GET", "/commands/c-1/output", chunks(False, "0 ö\n"), chunks(True, "1 two\n"))
    portal.on("GET", "/commands/c-1", Reply({"id": "c-1", "status": "rejected"}))

    done = fleet("commands", "output", "-f", "c-1")

    assert done.stdout == "0 ö\n1 two\n"
    assert done.returncode == 1


def test_why_lists_what_a_command_waits_for(portal, fleet):
    reason = {"code": "offline", "detail": "Last seen 3 h ago.", "until": None}
    portal.on("GET", "/commands/c-1/why", Reply({"waiting": True, "reasons": [reason]}))

    assert "offline  Last seen 3 h ago." in fleet("commands", "why", "c-1").stdout


# --- batches, bundles, the log ---


def test_a_batch_is_made_with_selection_waves_and_a_rule_to_stop(portal, fleet):
    portal.on("POST", "/batches", Reply({"id": "b-1", "status": "running"}, 201))

    done = fleet(
        *("batches", "create", "Nightly", "reboot", "--tag", "lab", "--tag", "eu"),
        *("--wave", "1", "--wave", "25%", "--abort-at", "20", "--expires-in", "600"),
    )

    assert done.stdout == "b-1 running\n"
    assert portal.seen[0].body == {
        "name": "Nightly",
        "type": "reboot",
        "payload": {},
        "selection": {"tags": ["lab", "eu"]},
        "waves": [{"size": 1}, {"percent": 25}],
        "abort_rules": [{"failure": "all", "threshold_percent": 20, "min_completed": 1}],
        "options": {"expires_in_s": 600},
    }


@pytest.mark.parametrize(
    "chosen", [[], ["--tag", "lab", "--group", "north"], ["--filter", "status"]]
)
def test_a_batch_without_exactly_one_selection_is_wrong_use(fleet, chosen):
    assert fleet("batches", "preview", *chosen).returncode == 2


def test_a_batch_is_watched_to_its_end(portal, fleet):
    def batch(status, **counts):
        progress = {"by_status": counts}
        return Reply({"id": "b-1", "status": status, "wave": 0, "progress": progress})

    portal.on("GET", "/batches/b-1", batch("running", queued=2), batch("aborted", failed=2))

    done = fleet("batches", "show", "b-1", "--watch")

    assert done.stderr.splitlines() == ["running wave 1: queued 2", "aborted wave 1: failed 2"]
    assert done.returncode == 1


def test_findings_are_shown_and_files_are_printed(portal, fleet):
    finding = {"severity": "error", "rule": "oom", "message": "Out of memory", "path": "kern.log"}
    portal.on("GET", "/bundles/b-1", Reply({"id": "b-1", "findings": [finding]}))

    def lines(request):
        offset = int(request.query["offset"][0])
        rows = [{"number": offset + 1, "text": f"line {offset}"}]
        return Reply({"lines": rows, "next_offset": offset + 1 if offset < 2 else None})

    portal.on("GET", "/bundles/b-1/files", lines)
    match = {"path": "kern.log", "line": 7, "text": "Out of memory: killed 12"}
    portal.on("GET", "/bundles/b-1/search", Reply({"matches": [match], "is_cut": True}))

    searched = fleet("bundles", "search", "b-1", "memory")

    assert "oom" in fleet("bundles", "findings", "b-1").stdout
    assert fleet("bundles", "cat", "b-1", "kern.log").stdout == "line 0\nline 1\nline 2\n"
    assert searched.stdout == "kern.log:7: Out of memory: killed 12\n"
    assert "more than is shown" in searched.stderr


def test_a_bundle_and_the_log_are_saved_as_files(portal, fleet, tmp_path):
    portal.on("GET", "/bundles/b-1/download", Reply(b"PK-archive"))
    portal.on("GET", "/audits.csv", Reply(b"seq\n1\n"))

    assert fleet("bundles", "download", "b-1").returncode == 0
    assert fleet("audits", "export", "log.csv", "--device", "kiosk-1").returncode == 0

    assert (tmp_path / "b-1.zip").read_bytes() == b"PK-archive"
    assert (tmp_path / "log.csv").read_bytes() == b"seq\n1\n"
    assert portal.asked("/audits.csv")[0].query == {"deviceId": ["kiosk-1"]}


# --- how it ends ---


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (problem(404, "not_found", "Nothing is there."), 3),
        (problem(403, "not_allowed", "Ask an admin."), 4),
        (problem(409, "command_ended", "It ended."), 4),
        (problem(500, "internal_error", "A fault."), 1),
        (Reply(b"<html>Sign in</html>"), 1),
    ],
)
def test_the_exit_status_says_what_went_wrong(portal, fleet, answer, status):
    portal.on("POST", "/commands/c-1/cancel", answer)

    done = fleet("commands", "cancel", "c-1")

    assert done.returncode == status
    assert done.stderr.startswith("fleet: ")
    assert "Traceback" not in done.stderr


def test_a_portal_that_is_not_there_is_status_5(fleet, portal):
    portal.stop()

    done = fleet("devices", "list")

    assert done.returncode == 5
    assert "connection refused" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["commands", "queue", "kiosk-1"],
        ["commands", "queue", "kiosk-1", "reboot", "--payload", "[1]"],
        ["commands", "queue", "kiosk-1", "reboot", "--payload", "{"],
        ["batches", "preview", "--group", "a", "--wave", "many"],
        ["--url", "portal.example.org", "devices", "list"],
    ],
)
def test_wrong_use_is_status_2(portal, fleet, arguments):
    done = fleet(*arguments)

    assert done.returncode == 2
    assert portal.seen == []


def test_without_a_sign_in_the_next_step_is_named(fleet):
    done = fleet("devices", "list", FLEET_API_KEY=None)

    assert done.returncode == 4
    assert "fleet login" in done.stderr

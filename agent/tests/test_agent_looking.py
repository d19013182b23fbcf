"""Commands that look and change nothing: ping, collect_logs, drift_check."""

from __future__ import annotations

import json
import threading
import time

import pytest
from agent_process import run_cli
from portal_double import TOKEN

from fleet_agent.journal import STARTED, Entry


@pytest.fixture
def bench(make_bench, programs, tmp_path, monkeypatch):
    monkeypatch.setattr("fleet_agent.commands.collect_logs.LOG_FILES", (tmp_path / "syslog",))
    return make_bench(DRIFT_PATHS=f"{tmp_path}/a,{tmp_path}/b")


def test_a_ping_is_answered_with_the_clocks(bench):
    report = bench.send("ping", {})

    assert report["status"] == "succeeded"
    assert report["result"]["uptime_s"] == 1000
    assert report["result"]["boot_id"] == "boot-one"
    assert report["result"]["wall_clock"].endswith("Z")
    assert report["result"]["monotonic_s"] > 0
    assert report["result"]["agent_version"]


@pytest.mark.parametrize("kind", ["ping", "collect_logs", "drift_check"])
def test_what_changes_nothing_is_done_again_after_a_restart(bench, portal, programs, kind):
    programs("journalctl", "echo a line")
    portal.queue("c1", kind, {})
    portal.commands["c1"]["status"] = "running"
    arguments = {"unit": None, "lines": 5, "since": None, "paths": []}
    bench.journal.write(Entry("c1", 1, kind, arguments=arguments), STARTED)

    bench.restart()
    bench.executor.recover()

    assert portal.status_of("c1") == "succeeded"


# collect_logs


def test_the_lines_of_a_unit_are_collected(bench, portal, programs, tmp_path):
    programs("journalctl", f'echo "$@" > {tmp_path}/call; echo "token={TOKEN}"; echo end')

    report = bench.send("collect_logs", {"unit": "demo", "since": "2h", "lines": 20})

    call = (tmp_path / "call").read_text()
    assert report["status"] == "succeeded"
    assert report["output"] == "token=[removed]\nend\n"
    assert portal.output_of("c1") == "token=[removed]\nend\n"
    assert "--lines 20 --unit demo --since @" in call
    since = int(call.rpartition("@")[2])
    assert abs(time.time() - 7200 - since) < 30


def test_without_a_journal_the_log_files_are_read(bench, programs, tmp_path):
    programs("journalctl", "echo 'No journal files were found.'; exit 1")
    (tmp_path / "syslog").write_text("demo: one\nother: two\ndemo: three\n")

    report = bench.send("collect_logs", {"unit": "demo.service", "lines": 1})

    assert report["output"] == "demo: three\n"
    assert report["result"]["source"].endswith("syslog")


def test_a_machine_without_logs_says_so(bench):
    assert bench.send("collect_logs", {})["status"] == "failed"


def test_no_lines_in_a_span_is_an_answer(bench, programs):
    programs("journalctl", "exit 0")

    report = bench.send("collect_logs", {"since": "1m"})

    assert report["status"] == "succeeded"
    assert report["result"]["lines"] == 0


def test_a_long_log_is_told_whole_and_kept_in_bounds(bench, portal, programs, monkeypatch):
    monkeypatch.setattr("fleet_agent.keeper.PIECE_S", 0.01)
    programs(
        "journalctl", "i=0; while [ $i -lt 3000 ]; do echo line $i of the log; i=$((i+1)); done"
    )

    report = bench.send("collect_logs", {"lines": 3000})

    assert portal.output_of("c1") == "".join(f"line {n} of the log\n" for n in range(3000))
    assert len(report["output"].encode()) <= 65536
    assert report["result"]["lines"] == 3000


def test_the_portal_can_stop_the_collecting(bench, portal, programs, monkeypatch, tmp_path):
    monkeypatch.setattr("fleet_agent.keeper.PIECE_S", 0.05)
    monkeypatch.setattr("fleet_agent.keeper.RENEW_S", 0.1)
    programs("journalctl", f"echo $$ > {tmp_path}/begun; exec /bin/sleep 30")
    # Asked after the start, so that only a renewal can tell.
    asking = threading.Thread(target=lambda: cancel_when(tmp_path / "begun", portal))
    asking.start()

    report = bench.send("collect_logs", {})
    asking.join()

    assert report["status"] == "cancelled"
    assert portal.renewals


def cancel_when(path, portal):
    deadline = time.monotonic() + 10
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    portal.cancel("c1")


@pytest.mark.parametrize(
    "payload",
    [
        {"unit": "a b"},
        {"unit": "--system"},
        {"unit": 5},
        {"lines": 0},
        {"lines": 5001},
        {"lines": "5"},
        {"lines": True},
        {"since": "yesterday"},
        {"since": "99999d"},
        {"since": "2999-01-01T00:00:00Z"},
        {"since": 5},
        {"since": "$(x)"},
    ],
)
def test_what_journalctl_must_not_be_given_is_rejected(bench, programs, payload):
    programs("journalctl", "echo never")

    assert bench.send("collect_logs", payload)["status"] == "rejected"


# drift_check


def drifted(report):
    return {item["path"].rpartition("/")[2]: item["change"] for item in report["result"]["drifted"]}


def test_changed_new_and_removed_files_are_told(bench, tmp_path):
    (tmp_path / "a").write_text("one")
    first = bench.send("drift_check", {})
    (tmp_path / "a").write_text("two")
    (tmp_path / "b").write_text("new")

    second = bench.send("drift_check", {}, command_id="c2")
    (tmp_path / "a").unlink()
    third = bench.send("drift_check", {"paths": [f"{tmp_path}/a"]}, command_id="c3")

    assert drifted(first) == {}
    assert len(first["result"]["first_seen"]) == 3
    assert drifted(second) == {"a": "changed", "b": "appeared"}
    assert drifted(third) == {"a": "removed"}


def test_a_change_by_hand_in_fleet_conf_is_drift_and_one_by_command_is_none(bench, tmp_path):
    bench.send("drift_check", {})
    bench.send("config", {"changes": {"HEARTBEAT_INTERVAL": "30"}}, command_id="c2")
    by_command = bench.send("drift_check", {}, command_id="c3")
    with (tmp_path / "fleet.conf").open("a") as stream:
        stream.write("# by hand\n")
    bench.send("config", {"changes": {"HEARTBEAT_INTERVAL": "40"}}, command_id="c4")

    by_hand = bench.send("drift_check", {}, command_id="c5")

    assert drifted(by_command) == {}
    assert drifted(by_hand) == {"fleet.conf": "changed"}


def test_the_owner_accepts_the_present_state(bench, tmp_path):
    bench.send("drift_check", {})
    (tmp_path / "a").write_text("new")

    done = run_cli("accept", "--config", str(tmp_path / "fleet.conf"))

    assert done.returncode == 0, done.stderr
    assert drifted(bench.send("drift_check", {}, command_id="c2")) == {}


@pytest.mark.parametrize("paths", [[], "x", ["relative"], ["/etc/../etc/shadow"], ["/etc/shadow"]])
def test_paths_the_owner_did_not_name_are_rejected(bench, paths):
    report = bench.send("drift_check", {"paths": paths})

    assert report["status"] == "rejected"
    assert "checked" not in json.dumps(report)

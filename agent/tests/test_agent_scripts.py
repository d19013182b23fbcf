from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest
from agent_process import run_cli

from fleet_agent import script_runner
from fleet_agent.journal import STARTED, Entry
from fleet_agent.script_job import LOST, RUNNING, ScriptJob, job_name
from fleet_agent.signing import KeyRing

SLOW = "echo begun\nwhile :; do /bin/sleep 0.1; done"


@pytest.fixture
def bench(make_bench):
    return make_bench(ALLOW_SCRIPTS="true")


def run(bench, signer, body, *, arguments=None, attempt=1, **fields):
    payload = {**signer.store("c1", body, **fields), "arguments": arguments or {}}
    return bench.send("run_script", payload, attempt=attempt)


def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def job_of(bench, attempt=1):
    return ScriptJob(bench.store.state_dir, job_name("c1", attempt))


def test_a_signed_script_is_run_and_told(bench, signer, portal):
    report = run(bench, signer, "echo hello; echo warning >&2")

    assert report["status"] == "succeeded"
    assert report["result"]["exit_status"] == 0
    assert report["output"] == "hello\nwarning\n"
    assert portal.output_of("c1") == "hello\nwarning\n"
    assert not job_of(bench).directory.exists()


def test_arguments_come_by_environment_and_input_and_never_by_the_command_line(bench, signer):
    arguments = {"name": "a b; rm -rf $(x)", "count": 3, "dry": True}
    body = 'echo "$FLEET_ARG_NAME|$FLEET_ARG_COUNT|$FLEET_ARG_DRY|$#"; /bin/cat'

    report = run(bench, signer, body, arguments=arguments)

    first, rest = report["output"].split("\n", 1)
    assert first == "a b; rm -rf $(x)|3|true|0"
    assert json.loads(rest) == arguments


def test_a_script_sees_nothing_of_the_agents_environment(bench, signer, monkeypatch):
    monkeypatch.setenv("FLEET_ENROLLMENT_TOKEN", "not-for-scripts")

    report = run(bench, signer, "/usr/bin/env; pwd; /usr/bin/stat -c %a .")

    assert "not-for-scripts" not in report["output"]
    assert "FLEET_COMMAND_ID=c1" in report["output"]
    assert report["output"].endswith("work\n700\n")


def test_a_failing_script_fails_with_its_exit_status(bench, signer):
    report = run(bench, signer, "echo why; exit 7")

    assert (report["status"], report["error_code"]) == ("failed", "script_failed")
    assert report["result"]["exit_status"] == 7
    assert report["output"] == "why\n"


def test_a_script_and_its_children_are_ended_when_its_time_is_over(bench, signer, tmp_path):
    body = f"/bin/sh -c 'echo $$ > {tmp_path}/child.pid; exec /bin/sleep 60' & wait"

    report = run(bench, signer, body, timeout_s=1)

    assert (report["status"], report["error_code"]) == ("failed", "script_timeout")
    pid = int((tmp_path / "child.pid").read_text())
    until(lambda: not Path(f"/proc/{pid}/cwd").exists())


def test_a_script_that_ignores_the_request_to_end_is_killed(bench, signer):
    report = run(bench, signer, "trap '' TERM\n" + SLOW, timeout_s=1)

    assert report["error_code"] == "script_timeout"
    assert report["result"]["seconds"] < 10


def test_output_beyond_the_limit_is_dropped_and_the_script_goes_on(bench, signer, tmp_path):
    body = f"/usr/bin/head -c 500000 /dev/zero | /usr/bin/tr '\\0' x; echo end > {tmp_path}/end"

    report = run(bench, signer, body, output_bytes=1000)

    assert report["status"] == "succeeded"
    assert report["result"]["output_truncated"] is True
    assert report["output"] == "x" * 1000
    assert (tmp_path / "end").exists()


def test_the_portal_can_stop_a_running_script(bench, signer, portal):
    def cancel_when_begun():
        until(lambda: "begun" in portal.output_of("c1"))
        bench.executor.cancel("c1", 1)

    thread = threading.Thread(target=cancel_when_begun)
    thread.start()
    report = run(bench, signer, SLOW)
    thread.join()

    assert report["status"] == "cancelled"
    assert "begun" in report["output"]


def test_a_cancel_asked_before_the_start_prevents_it(bench, signer, portal, tmp_path):
    portal.cancel("c1")

    report = run(bench, signer, f"echo x > {tmp_path}/effect")

    assert report["status"] == "cancelled"
    assert not (tmp_path / "effect").exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"organization": "other"}, "another organisation"),
        ({"version": 2}, "version 2"),
        ({"name": "other"}, "another script"),
        ({"interpreter": "perl"}, "does not run 'perl'"),
        ({"organization": ""}, "names no organisation"),
        ({"body": None, "timeout_s": "long"}, "lacks a field"),
        ({"arguments_schema": {"required": ["who"]}}, "missing ['who']"),
        ({"arguments_schema": {"properties": {"x": {"type": "string"}}}}, "unknown ['extra']"),
        ({"arguments_schema": {"properties": {"extra": {"type": "boolean"}}}}, "another type"),
    ],
)
def test_a_script_that_is_not_what_was_ordered_is_rejected(bench, signer, fields, words):
    fields = {"body": "echo never", **fields}
    report = run(bench, signer, fields.pop("body"), arguments={"extra": 1}, **fields)

    assert report["status"] == "rejected"
    assert words in report["error"]


def test_a_script_that_was_changed_after_it_was_signed_is_rejected(bench, signer, portal):
    payload = signer.store("c1", "echo never")
    portal.scripts["c1"]["document"] = portal.scripts["c1"]["document"].replace("never", "evil!")

    report = bench.send("run_script", payload)

    assert report["status"] == "rejected"
    assert "signature" in report["error"]


def test_a_changed_key_is_refused_and_shown_until_the_device_is_enrolled_again(
    bench, signer, portal, tmp_path
):
    run(bench, signer, "echo fine")
    other = type(signer)(portal)
    other.key_id = "key-2"
    portal.config["signing_keys"] = [other.public()]
    payload = other.store("c2", "echo never")

    report = bench.send("run_script", payload, command_id="c2")
    status = run_cli("status", "--config", str(tmp_path / "fleet.conf")).stdout

    assert report["status"] == "rejected"
    assert "does not trust" in report["error"]
    assert "key-2" in status
    assert "refused" in status
    portal.know("kiosk-7", "0123456789abcdef" * 4)
    done = run_cli("enroll", "--config", str(tmp_path / "fleet.conf"))
    assert done.returncode == 0, done.stderr
    assert list(KeyRing(bench.store.state_dir).keys) == ["key-2"]


def test_the_keys_are_pinned_at_enrolment(bench, signer, portal, tmp_path):
    run_cli("enroll", "--config", str(tmp_path / "fleet.conf"))
    portal.config = {}

    assert run(bench, signer, "echo fine")["status"] == "succeeded"
    assert KeyRing(bench.store.state_dir).organization == "acme"


def test_scripts_are_rejected_unless_the_owner_allows_them(make_bench, signer):
    report = run(make_bench(), signer, "echo never")

    assert report["status"] == "rejected"
    assert "ALLOW_SCRIPTS" in report["error"]


def test_scripts_are_rejected_where_signatures_cannot_be_checked(bench, signer, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)

    report = run(bench, signer, "echo never")

    assert report["status"] == "rejected"
    assert "fleet-agent[scripts]" in report["error"]


@pytest.mark.parametrize(
    "arguments", [["x"], {"a b": "x"}, {"x": None}, {"x": {"y": 1}}, {"x": "a\0b"}]
)
def test_arguments_of_another_shape_are_rejected(bench, signer, arguments):
    payload = {**signer.store("c1", "echo never"), "arguments": arguments}

    assert bench.send("run_script", payload)["status"] == "rejected"


def test_a_script_that_cannot_be_fetched_has_failed_by_the_network(bench, signer, portal):
    portal.fail("/script", kind="drop", count=99)

    report = run(bench, signer, "echo never")

    assert (report["status"], report["failure_class"]) == ("failed", "network")
    assert report["error_code"] == "not_started"


# After a restart of the agent


def leave_begun(bench, signer, portal, body):
    """Leave what an agent leaves that dies right after it has started the runner."""
    payload = signer.store("c1", body)
    portal.queue("c1", "run_script", payload)
    portal.commands["c1"]["status"] = "running"
    entry = Entry("c1", 1, "run_script", arguments=payload)
    bench.journal.write(entry, STARTED)
    job = job_of(bench)
    job.prepare(
        body=body,
        arguments={},
        job={
            "command": ["/bin/sh"],
            "environment": {"PATH": os.defpath},
            "timeout_s": 20,
            "output_bytes": 1000,
        },
    )
    return job


def come_up(bench):
    bench.restart()
    bench.executor.recover()
    bench.executor.report_results()
    return bench.portal.report_of("c1")


def test_a_script_that_finished_while_the_agent_was_away_is_found(bench, signer, portal):
    job = leave_begun(bench, signer, portal, "echo done; exit 3")
    job.start().wait(10)

    report = come_up(bench)

    assert report["result"]["exit_status"] == 3
    assert portal.output_of("c1") == "done\n"


def test_a_script_that_still_runs_is_waited_for(bench, signer, portal):
    job = leave_begun(bench, signer, portal, "/bin/sleep 1; echo end")
    job.start()
    until(lambda: job.state() == RUNNING)

    report = come_up(bench)

    assert report["status"] == "succeeded"
    assert report["output"].endswith("end\n")


def test_a_script_that_was_cut_off_is_failed_and_never_run_again(bench, signer, portal, tmp_path):
    body = f"echo x >> {tmp_path}/effect; while :; do /bin/sleep 0.1; done"
    job = leave_begun(bench, signer, portal, body)
    runner = job.start()
    until((tmp_path / "effect").exists)
    runner.kill()
    runner.wait()
    until(lambda: job.state() == LOST)

    report = come_up(bench)
    portal.queue("c1", "run_script", {}, attempt=2)
    portal.commands["c1"]["status"] = "delivered"
    bench.executor.handle({"id": "c1", "type": "run_script", "payload": {}, "attempt": 2})

    assert (report["status"], report["error_code"]) == ("failed", "interrupted")
    assert portal.report_of("c1")["error_code"] == "interrupted"
    assert portal.report_of("c1")["attempt"] == 2
    assert (tmp_path / "effect").read_text() == "x\n"
    leftovers = [path for path in Path("/proc").glob("[0-9]*/cwd") if _is_in(path, job.directory)]
    assert leftovers == []


def _is_in(link, directory):
    try:
        return link.readlink().is_relative_to(directory)
    except OSError:
        return False


def test_a_new_attempt_goes_on_with_the_run_of_the_old_one(bench, signer, portal, tmp_path):
    body = f"echo x >> {tmp_path}/effect; /bin/sleep 0.5"
    job = leave_begun(bench, signer, portal, body)
    job.start()
    until((tmp_path / "effect").exists)
    portal.queue("c1", "run_script", {}, attempt=2)
    portal.commands["c1"]["status"] = "delivered"

    bench.executor.handle({"id": "c1", "type": "run_script", "payload": {}, "attempt": 2})
    bench.executor.check_waiting()

    assert portal.status_of("c1") == "succeeded"
    assert portal.report_of("c1")["attempt"] == 2
    assert (tmp_path / "effect").read_text() == "x\n"


def test_two_runners_of_one_job_run_it_once(bench, signer, portal, tmp_path):
    job = leave_begun(bench, signer, portal, f"echo x >> {tmp_path}/effect")

    runners = [job.start() for _ in range(3)]
    codes = sorted(runner.wait(10) for runner in runners)

    assert codes == [0, 1, 1]
    assert (tmp_path / "effect").read_text() == "x\n"


def test_a_job_that_was_given_up_is_never_run(bench, signer, portal, tmp_path):
    job = leave_begun(bench, signer, portal, f"echo x >> {tmp_path}/effect")

    assert script_runner.claim(job.directory)
    assert job.start().wait(10) == 1
    assert not (tmp_path / "effect").exists()

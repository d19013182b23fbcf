from __future__ import annotations

import errno
import os
import time

import pytest

from fleet_agent.errors import PortalError
from fleet_agent.journal import (
    ACCEPTED,
    KEPT_CONFIRMED,
    MAX_BYTES,
    RESULT,
    STARTED,
    Entry,
    Journal,
    unconfirmed,
)


@pytest.fixture
def counted(programs, tmp_path):
    """A systemctl that counts its restarts."""
    programs("systemctl", f"[ $1 = restart ] && echo x >> {tmp_path}/count; exit 0")
    count = tmp_path / "count"
    return lambda: len(count.read_text().split()) if count.exists() else 0


@pytest.fixture
def bench(make_bench):
    return make_bench(ALLOWED_SERVICES="demo")


def restart(bench, **extra):
    return bench.send("restart_service", {"service": "demo"}, **extra)


def start_without_end(bench, kind="restart_service", **extra):
    """Leave a journal as a power cut in the middle of a command leaves it."""
    bench.portal.queue("c1", kind, {})
    bench.portal.commands["c1"]["status"] = "running"
    bench.journal.write(Entry("c1", 1, kind, **extra), STARTED)
    bench.restart()
    bench.executor.recover()
    bench.executor.report_results()
    return bench.portal.report_of("c1")


def test_the_same_attempt_is_never_carried_out_twice(bench, counted):
    restart(bench)
    restart(bench)
    bench.restart()
    restart(bench)

    assert counted() == 1


def test_another_attempt_of_a_failed_command_is_carried_out(bench, programs, tmp_path):
    programs("systemctl", f"[ $1 = restart ] && echo x >> {tmp_path}/count; exit 1")
    restart(bench)

    restart(bench, attempt=2)

    assert (tmp_path / "count").read_text() == "x\nx\n"


def test_another_attempt_of_a_succeeded_command_is_answered_from_the_journal(bench, counted):
    first = restart(bench)
    bench.restart()

    second = restart(bench, attempt=2)

    assert counted() == 1
    assert second["status"] == "succeeded"
    assert second["result"] == first["result"]


def test_a_command_the_portal_has_withdrawn_is_not_begun(bench, portal, counted):
    portal.fail("/commands/c1", method="PATCH", status=409)

    restart(bench)

    assert counted() == 0
    assert portal.patches == []


def test_a_lost_answer_to_the_start_does_not_stop_the_command(bench, portal, counted):
    portal.fail("/commands/c1", method="PATCH", kind="lose")

    report = restart(bench)

    assert report["status"] == "succeeded"
    assert counted() == 1


def test_a_start_nobody_hears_of_is_given_back_undone(bench, portal, counted, monkeypatch):
    monkeypatch.setattr("fleet_agent.executor.START_PATIENCE_S", 0.0)
    portal.fail("/commands/c1", method="PATCH", kind="drop")

    report = restart(bench)

    assert counted() == 0
    assert report["status"] == "failed"
    assert "nothing was done" in report["error"]


def test_a_result_that_does_not_arrive_is_kept_over_a_restart(bench, portal, counted):
    portal.fail("/commands/c1", kind="drop", count=5, when=lambda body: body["status"] != "running")
    restart(bench)
    assert unconfirmed(bench.store.state_dir / "journal.jsonl") == 1
    portal.faults.clear()

    bench.restart()
    bench.executor.recover()
    bench.executor.report_results()
    bench.executor.report_results()

    assert portal.status_of("c1") == "succeeded"
    assert counted() == 1
    assert [patch["status"] for patch in portal.patches] == ["running", "succeeded"]
    assert unconfirmed(bench.store.state_dir / "journal.jsonl") == 0


def test_a_result_whose_confirmation_was_lost_is_sent_again(bench, portal, counted):
    portal.fail("/commands/c1", kind="lose", when=lambda body: body["status"] == "succeeded")
    restart(bench)

    bench.executor.report_results()

    assert portal.status_of("c1") == "succeeded"
    assert bench.journal.in_phase(RESULT) == []


@pytest.mark.parametrize("status", [404, 409])
def test_a_result_the_portal_has_no_use_for_is_let_go(bench, portal, counted, status):
    portal.fail("/commands/c1", status=status, when=lambda body: body["status"] == "succeeded")

    restart(bench)

    assert bench.journal.in_phase(RESULT) == []


def test_a_result_that_is_too_large_is_sent_without_its_output(bench, portal, counted):
    portal.fail("/commands/c1", status=413, when=lambda body: bool(body.get("output")))

    assert restart(bench)["status"] == "succeeded"


def test_one_result_the_portal_stumbles_over_does_not_hold_up_the_others(bench, portal, counted):
    portal.fail(
        "/commands/c1", status=500, count=9, when=lambda body: body["status"] == "succeeded"
    )
    restart(bench)

    bench.executor.report_results()

    assert restart(bench, command_id="c2")["status"] == "succeeded"


def test_an_overloaded_portal_keeps_the_results_waiting(bench, portal, counted):
    portal.fail(
        "/commands/c1", status=503, count=9, when=lambda body: body["status"] == "succeeded"
    )
    restart(bench)

    with pytest.raises(PortalError):
        bench.executor.report_results()

    assert len(bench.journal.in_phase(RESULT)) == 1


@pytest.mark.parametrize("kind", ["restart_service", "reboot", "unknown"])
def test_a_command_cut_off_in_the_middle_is_failed_and_not_repeated(bench, counted, kind):
    arguments = {"service": "demo", "delay_seconds": 0}

    report = start_without_end(
        bench, kind, arguments=arguments, facts={"boot_id": bench.boot_id, "invocation_id": ""}
    )

    assert report["status"] == "failed"
    assert "interrupted by a restart of the agent" in report["error"]
    assert counted() == 0


def test_a_restart_that_systemd_can_prove_has_succeeded(bench, programs):
    programs("systemctl", "echo InvocationID=new-id; echo ActiveState=active")

    report = start_without_end(
        bench, arguments={"service": "demo"}, facts={"invocation_id": "old-id"}
    )

    assert report["status"] == "succeeded"


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        ("ActiveState=active\nActiveEnterTimestampMonotonic=2000", "succeeded"),
        ("ActiveState=active\nActiveEnterTimestampMonotonic=500", "failed"),
        ("ActiveState=active\nMainPID=SELF", "succeeded"),
        ("ActiveState=failed\nActiveEnterTimestampMonotonic=2000", "failed"),
    ],
)
def test_without_an_invocation_id_the_time_of_the_start_decides(bench, programs, shown, status):
    programs("systemctl", f"echo '{shown.replace('SELF', str(os.getpid()))}'")

    report = start_without_end(
        bench,
        arguments={"service": "demo"},
        facts={"boot_id": "boot-one", "monotonic_us": 1000, "wall_s": 1.0},
    )

    assert report["status"] == status


def test_a_unit_that_systemd_still_works_on_is_looked_at_again(bench, portal, programs):
    programs("systemctl", "echo ActiveState=deactivating")
    now_us = time.monotonic_ns() // 1000
    facts = {"boot_id": "boot-one", "monotonic_us": now_us, "invocation_id": "old"}

    start_without_end(bench, arguments={"service": "demo"}, facts=facts)
    assert portal.status_of("c1") == "running"
    assert bench.executor.has_waiting()
    programs("systemctl", "echo InvocationID=new; echo ActiveState=active")
    bench.executor.check_waiting()
    bench.executor.report_results()

    assert portal.status_of("c1") == "succeeded"


def test_an_interrupted_command_is_not_carried_out_by_a_later_attempt(bench, portal, counted):
    start_without_end(bench, arguments={"service": "demo"}, facts={"invocation_id": ""})

    report = restart(bench, attempt=2)

    assert (report["status"], report["error_code"]) == ("failed", "interrupted")
    assert counted() == 0


def test_a_reboot_that_waits_for_its_time_is_called_off(make_bench, portal, programs, tmp_path):
    programs("shutdown", f'echo "$@" >> {tmp_path}/calls')
    bench = make_bench(ALLOW_REBOOT="true")
    bench.send("reboot", {"delay_seconds": 600})

    bench.executor.cancel("c1", 1)
    bench.executor.check_waiting()
    bench.executor.report_results()

    assert portal.status_of("c1") == "cancelled"
    assert (tmp_path / "calls").read_text() == "-r +10\n-c\n"


@pytest.mark.parametrize(("value", "status"), [("30", "succeeded"), ("31", "failed")])
def test_a_config_change_cut_off_is_judged_by_the_file(make_bench, value, status):
    bench = make_bench(HEARTBEAT_INTERVAL=value)

    report = start_without_end(
        bench, "config", arguments={"changes": {"HEARTBEAT_INTERVAL": "30"}}, facts={"old": {}}
    )

    assert report["status"] == status


@pytest.mark.parametrize("state", ["delivered", "running"])
def test_a_command_accepted_but_not_begun_is_begun_after_the_restart(bench, portal, counted, state):
    portal.queue("c1", "restart_service", {})
    portal.commands["c1"]["status"] = state
    bench.journal.write(Entry("c1", 1, "restart_service", arguments={"service": "demo"}), ACCEPTED)

    bench.restart()
    bench.executor.recover()

    assert portal.status_of("c1") == "succeeded"
    assert counted() == 1


def test_a_command_accepted_but_withdrawn_meanwhile_is_not_begun(bench, portal, counted):
    portal.queue("c1", "restart_service", {}, attempt=2)
    bench.journal.write(Entry("c1", 1, "restart_service", arguments={"service": "demo"}), ACCEPTED)

    bench.restart()
    bench.executor.recover()

    assert portal.patches == []
    assert counted() == 0


def test_a_command_accepted_by_an_older_agent_fails_without_stopping_the_others(bench, portal):
    portal.queue("c1", "reboot", {})
    portal.commands["c1"]["status"] = "running"
    bench.journal.write(Entry("c1", 1, "reboot"), ACCEPTED)

    bench.restart()
    bench.executor.recover()

    assert portal.report_of("c1")["error_code"] == "not_started"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_nothing_is_begun_when_the_journal_cannot_be_written(
    bench, portal, counted, monkeypatch, code
):
    def full(handle):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fleet_agent.durable.os.fsync", full)

    restart(bench)

    assert counted() == 0
    # Not a word, so that the lease brings the command back when there is room again.
    assert portal.patches == []
    assert portal.status_of("c1") == "delivered"
    assert os.strerror(code) in bench.journal.trouble
    assert not bench.executor.can_begin()

    monkeypatch.undo()
    assert bench.executor.can_begin()
    assert bench.journal.trouble is None


def test_a_fault_in_one_command_reaches_its_operator(bench, counted, monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("boom")

    monkeypatch.setattr("fleet_agent.commands.restart_service._restart", broken)

    report = restart(bench)

    assert report["status"] == "failed"
    assert "boom" in report["error"]


@pytest.mark.parametrize("command", [{}, {"id": "x"}, {"id": "x", "attempt": "y", "type": "z"}])
def test_a_malformed_command_is_passed_over(bench, portal, command):
    bench.executor.handle(command)

    assert portal.patches == []


def test_a_torn_line_of_the_journal_spoils_only_itself(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.write(Entry("c1", 1, "config"), STARTED)
    with path.open("ab") as stream:
        stream.write(b'{"id":"c2","att')

    Journal(path).write(Entry("c3", 1, "config"), STARTED)

    assert {entry.command_id for entry in Journal(path).in_phase(STARTED)} == {"c1", "c3"}


def test_the_journal_stays_small_and_forgets_no_open_command(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write(Entry("open", 1, "reboot"), STARTED)
    for number in range(2 * KEPT_CONFIRMED):
        journal.hold(Entry(f"c{number}", 1, "config", report={"status": "failed"}), "confirmed")

    again = Journal(tmp_path / "journal.jsonl")

    assert again.get("open", 1) is not None
    assert again.get(f"c{2 * KEPT_CONFIRMED - 1}", 1) is not None
    assert len(again.in_phase("confirmed")) <= KEPT_CONFIRMED


def test_large_results_do_not_make_the_journal_large(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    for number in range(300):
        report = {"status": "succeeded", "result": {"x": "y" * 50_000}, "output": "z" * 50_000}
        entry = Entry(f"c{number}", 1, "config", report=report)
        journal.hold(entry, RESULT)
        journal.hold(entry, "confirmed")

    assert path.stat().st_size < MAX_BYTES + 200_000
    assert Journal(path).get("c299", 1).report == {"status": "succeeded"}

"""The agent dies at every point where it touches disk, network or another program."""

from __future__ import annotations

from itertools import count
from threading import current_thread, main_thread

import pytest

from fleet_agent import durable, processes
from fleet_agent.portal import PortalClient
from fleet_agent.script_job import ScriptJob

PAYLOADS = {
    "restart_service": {"service": "demo"},
    "reboot": {"delay_seconds": 60},
    "config": {"changes": {"HEARTBEAT_INTERVAL": "30"}},
    "bundle": {"include_logs": False},
    "ping": {},
    "collect_logs": {"lines": 10},
    "drift_check": {},
    "run_script": {"script": "demo", "version": 3},
}
WITH_AN_EFFECT = ("restart_service", "reboot", "run_script")


class Crash(BaseException):
    """No handler of the agent may run as if nothing had happened."""


class Points:
    """Counts what the agent does, before and after each step, and dies at one of them."""

    def __init__(self, monkeypatch):
        self.passed = 0
        self.crash_at = None
        for owner, name in (
            (durable.os, "fsync"),
            (durable, "sync_directory"),
            (processes, "run"),
            (PortalClient, "call"),
            (ScriptJob, "start"),
        ):
            monkeypatch.setattr(owner, name, self._watched(getattr(owner, name)))

    def _watched(self, real):
        def step(*arguments, **options):
            self._pass()
            answer = real(*arguments, **options)
            self._pass()
            return answer

        return step

    def _pass(self):
        # The keeper's thread tells output; it decides nothing.
        if self.crash_at is not None and current_thread() is main_thread():
            self.passed += 1
            if self.passed == self.crash_at:
                raise Crash

    def arm(self, crash_at):
        self.passed, self.crash_at = 0, crash_at


@pytest.fixture
def points(monkeypatch):
    return Points(monkeypatch)


@pytest.fixture
def effects(programs, tmp_path, monkeypatch):
    """How often a program with an effect was started."""
    mark = f"echo x >> {tmp_path}/count"
    programs("systemctl", f"[ $1 = restart ] && {mark}; exit 0")
    programs("shutdown", mark)
    programs("journalctl", "echo a line")
    monkeypatch.setattr("fleet_agent.support_bundle.SYSTEM_PROGRAMS", {})
    monkeypatch.setattr("fleet_agent.keeper.PIECE_S", 0.01)
    monkeypatch.setattr("fleet_agent.commands.reboot.SCHEDULED", tmp_path / "count")
    path = tmp_path / "count"

    def read():
        found = len(path.read_text().split()) if path.exists() else 0
        path.unlink(missing_ok=True)
        return found

    read.path = path
    return read


def come_up(bench, points, crash_at=None):
    """Start the agent again; return False when it died on the way."""
    points.arm(crash_at)
    try:
        bench.restart()
        bench.executor.recover()
        bench.executor.check_waiting()
        bench.executor.report_results()
    except Crash:
        return False
    finally:
        points.arm(None)
    return True


def settle(bench, portal, points, kind, command_id):
    """Restart, reboot where asked, and let the lease of an unheard command run out."""
    command = portal.commands[command_id]
    for _ in range(3):
        come_up(bench, points)
        if command["status"] == "delivered":
            command["attempt"] += 1
            handed_out = {name: command[name] for name in ("id", "type", "payload", "attempt")}
            bench.executor.handle(handed_out)
        if kind == "reboot":
            bench.boot_id = f"boot-{command_id}"


def crash_in_command(bench, portal, points, kind, command_id, crash_at):
    portal.queue(command_id, kind, PAYLOADS[kind])
    portal.commands[command_id]["status"] = "delivered"
    points.arm(crash_at)
    try:
        bench.executor.handle(
            {"id": command_id, "type": kind, "payload": PAYLOADS[kind], "attempt": 1}
        )
    except Crash:
        return True
    finally:
        points.arm(None)
    return False


@pytest.mark.parametrize("kind", list(PAYLOADS))
def test_every_crash_leaves_at_most_one_effect_and_an_ended_command(
    make_bench, portal, points, effects, signer, kind
):
    bench = make_bench(ALLOWED_SERVICES="demo", ALLOW_REBOOT="true", ALLOW_SCRIPTS="true")

    for crash_at in count(1):
        command_id = f"{kind}-{crash_at}"
        signer.store(command_id, f"echo x >> {effects.path}\n/bin/sleep 0.2")
        did_crash = crash_in_command(bench, portal, points, kind, command_id, crash_at)
        settle(bench, portal, points, kind, command_id)

        done = effects()
        status = portal.status_of(command_id)
        assert done <= 1, f"point {crash_at}: {done} effects"
        assert status in ("succeeded", "failed"), f"point {crash_at}: {status}"
        if status == "succeeded" and kind in WITH_AN_EFFECT:
            assert done == 1, f"point {crash_at}: success without effect"
        if portal.report_of(command_id).get("error_code") == "not_started":
            assert done == 0, f"point {crash_at}: an effect that is denied"
        if not did_crash:
            break

    assert crash_at > 10
    assert portal.status_of(command_id) == "succeeded"


@pytest.mark.parametrize("kind", ["restart_service", "config"])
def test_a_second_crash_while_coming_up_changes_nothing(make_bench, portal, points, effects, kind):
    bench = make_bench(ALLOWED_SERVICES="demo")

    for crash_at in count(1):
        command_id = f"{kind}-{crash_at}"
        # The result is in the journal and the portal has not heard of it.
        portal.fail(f"/{command_id}$", kind="drop", when=lambda body: body["status"] != "running")
        crash_in_command(bench, portal, points, kind, command_id, None)
        did_end = come_up(bench, points, crash_at)
        settle(bench, portal, points, kind, command_id)

        assert effects() == (1 if kind == "restart_service" else 0)
        assert portal.status_of(command_id) == "succeeded"
        if did_end:
            break

    assert crash_at > 4

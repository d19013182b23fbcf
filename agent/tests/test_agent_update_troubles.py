"""Updates on devices in odd states: lost files, a portal that is silent, hooks that leave more."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest
from test_agent_updates import end_of, running

from fleet_agent import processes
from fleet_agent.updates import watch
from fleet_agent.updates.trust_errors import TrustError


@pytest.fixture
def device(make_device):
    made = make_device()
    made.install(made.release("1.0.0"))
    return made


def test_a_device_that_has_lost_the_manifest_of_what_runs_is_brought_back_by_a_redeploy(
    device, portal
):
    release_id = device.deployment.releases.current()
    device.deployment.releases.facts_path(release_id).unlink()
    (device.releases / "current" / "app" / "version.txt").write_text("spoilt")

    update_id = portal.updates.offer_release(device.release("1.0.0"), kind="redeploy")
    device.turn()

    assert end_of(portal, update_id)[0] == "claimed"
    assert device.deployment.running().version == "1.0.0"
    assert (device.releases / "current" / "app" / "version.txt").read_text() == "1.0.0"


def test_a_device_that_is_offered_nothing_still_looks_at_what_is_signed(device, monkeypatch):
    monkeypatch.setattr(watch, "FIRST_S", (0.0, 0.0))
    device.trust.refusal = TrustError("timestamp.json has expired.", code="freeze")
    device.restart()

    device.turn()

    assert device.loop.watch.trouble == (
        "signed metadata is refused (freeze): timestamp.json has expired."
    )


def test_a_device_that_may_not_be_updated_does_not_look(device, monkeypatch):
    monkeypatch.setattr(watch, "FIRST_S", (0.0, 0.0))
    device.trust.refusal = TrustError("timestamp.json has expired.", code="freeze")
    device.store.path.write_text(device.store.path.read_text() + "ALLOW_UPDATES=false\n")
    device.store.refresh()
    device.restart()

    device.turn()

    assert device.loop.watch.trouble == ""


def test_a_release_that_only_docker_could_start_is_refused_where_there_is_none(
    device, portal, programs
):
    only_compose = device.release(
        "2.0.0",
        counter=2,
        hooks=dict.fromkeys(("validate", "stop", "start", "health", "safe-mode"), ""),
        files={"compose.yml": b"services: {}\n"},
    )

    update_id = portal.updates.offer_release(only_compose)
    device.turn()

    assert end_of(portal, update_id) == ("failed", "install", "no_docker")


def test_while_the_portal_has_paused_an_update_its_time_stands_still(device, portal, monkeypatch):
    update_id = portal.updates.offer_release(
        device.release("2.0.0", counter=2), is_paused=True, timeout_s=60
    )
    waits = []

    def hour_passes(seconds):
        waits.append(seconds)
        device.deployment.states.state.spent_s += 3600
        portal.updates.offer["is_paused"] = len(waits) < 3

    monkeypatch.setattr(device.loop, "pause", hour_passes)
    device.turn()

    assert end_of(portal, update_id)[0] == "claimed"
    assert len(waits) == 3


def test_a_portal_that_does_not_answer_does_not_keep_the_application_stopped(device, portal):
    steps = []
    portal.updates.offer_release(device.release("2.0.0", counter=2))
    portal.fail(
        "/update-results",
        kind="drop",
        count=100,
        when=lambda body: steps.append(body.get("step")) or True,
    )

    device.turn()

    assert running(device) == "2.0.0"
    # One that finds nobody is enough; the next step tells nobody either.
    assert steps == ["offered", None]


@pytest.mark.parametrize("status", [404, 422])
def test_diagnostics_the_portal_refuses_do_not_keep_a_redeploy_away(device, portal, status):
    device.deployment.enter_safe_mode(reason="smoke", source="agent")
    portal.fail("/diagnostics", status=status, count=100)

    update_id = portal.updates.offer_release(device.release("2.0.0", counter=2), kind="redeploy")
    device.turn()

    assert end_of(portal, update_id)[0] == "claimed"


def is_running(pid):
    with contextlib.suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def test_what_a_hook_leaves_running_may_print_for_ever(tmp_path):
    left = f"while sleep 0.01; do head -c 20000 /dev/zero; echo >> {tmp_path}/rounds; done"

    done = processes.run(
        ["sh", "-c", f"echo started; ({left}) & echo $! > {tmp_path}/pid"], timeout_s=5
    )

    pid = int((tmp_path / "pid").read_text())
    try:
        assert (done.exit_status, done.output.split()[0]) == (0, "started")
        # Kept in memory it would grow until the device has none.
        assert "memfd" not in os.readlink(f"/proc/{pid}/fd/1")
        deadline = time.monotonic() + 10
        while len((tmp_path / "rounds").read_text()) < 10 and time.monotonic() < deadline:
            time.sleep(0.02)  # A look at another process, until it has written.
        assert len((tmp_path / "rounds").read_text()) >= 10
        assert is_running(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_program_that_prints_without_end_is_read_and_only_its_end_is_kept():
    done = processes.run(
        ["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 3"],
        timeout_s=20,
        max_output_bytes=1000,
    )

    assert (done.exit_status, done.output.strip()[-7:]) == (3, "the end")
    assert len(done.output) <= 1100


def test_a_program_that_closes_its_output_is_still_waited_for():
    began = time.monotonic()
    done = processes.run(["sh", "-c", "echo a; exec >&- 2>&-; sleep 0.3; exit 4"], timeout_s=5)

    assert (done.exit_status, done.output.strip()) == (4, "a")
    assert time.monotonic() - began >= 0.3

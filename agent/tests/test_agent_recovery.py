"""Safe mode, drift of the release, and the commands that belong to them."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest
from test_agent_updates import end_of, running

from fleet_agent.commands.base import Context
from fleet_agent.executor import Executor
from fleet_agent.journal import STARTED, Entry, Journal
from fleet_agent.portal import PortalClient
from fleet_agent.updates.drift_loop import DriftLoop


@pytest.fixture
def device(make_device):
    made = make_device()
    made.install(made.release("1.0.0"))
    return made


def executor(device):
    """Return an executor of an agent that has just come up, and its journal."""
    context = Context(
        store=device.store,
        state_dir=device.store.state_dir,
        portal=PortalClient(device.store),
        boot_id="boot-one",
        uptime_s=lambda: 1000,
        recent_log=str,
        pause=threading.Event().wait,
        deployment=device.deployment,
        keeping=device.loop.keeping,
    )
    journal = Journal(device.store.state_dir / "journal.jsonl")
    return Executor(journal=journal, context=context), journal


@pytest.fixture
def send(device, portal):
    """Have the device carry out one command; return what the portal was told."""

    def run(kind, payload, command_id="c1"):
        portal.queue(command_id, kind, payload)
        portal.commands[command_id]["status"] = "delivered"
        command = {"id": command_id, "type": kind, "payload": payload, "attempt": 1}
        executor(device)[0].handle(command)
        return portal.report_of(command_id)

    return run


def drift_loop(device):
    return DriftLoop(
        store=device.store, portal=PortalClient(device.store), deployment=device.deployment
    )


def folder(device):
    return device.releases / "current"


def test_safe_mode_stops_the_application_and_starts_what_replaces_it(device, portal, send):
    assert send("safe_mode", {"enter": True, "reason": "smoke"})["status"] == "succeeded"
    assert running(device) == "safe 1.0.0"

    device.restart()
    device.turn()
    told = portal.updates.diagnostics[-1]
    assert (told["safe_mode"], told["reason"]) == (True, "smoke")
    assert {"name", "passed", "detail"} == set(told["checks"][0])
    assert running(device) == "safe 1.0.0"

    assert send("safe_mode", {"enter": False}, "c2")["status"] == "succeeded"
    assert running(device) == "1.0.0"
    device.turn()
    assert portal.updates.diagnostics[-1]["safe_mode"] is False


def mode(device):
    """Return what a heartbeat of this moment would say: in safe mode, and about to leave it."""
    shown = device.deployment.shown()
    return shown["safe_mode"], shown["leaving_safe_mode"]


def redeployed(device, portal, send, **release):
    """Put the device into safe mode and deploy a release again; return the update's id."""
    send("safe_mode", {"enter": True, "reason": "smoke"}, "enter")
    device.turn()
    again = device.release("2.0.0", counter=2, **release)
    deployed = portal.updates.offer_release(again, kind="redeploy")
    device.turn()
    return deployed


def test_in_safe_mode_only_a_redeploy_is_taken_and_ends_it_with_the_portals_word(
    device, portal, send
):
    send("safe_mode", {"enter": True, "reason": "smoke"})
    new = device.release("2.0.0", counter=2)

    refused = portal.updates.offer_release(new)
    device.turn()
    assert end_of(portal, refused) == ("failed", "refused", "safe_mode")

    deployed = portal.updates.offer_release(new, kind="redeploy")
    device.turn()
    assert end_of(portal, deployed)[0] == "claimed"
    assert (running(device), mode(device)) == ("2.0.0", (True, True))
    # Until it is proved it takes no other.
    refused = portal.updates.offer_release(device.release("3.0.0", counter=3))
    device.turn()
    assert end_of(portal, refused) == ("failed", "refused", "safe_mode")

    (device.run / "log").unlink()
    assert send("safe_mode", {"enter": False}, "c2")["status"] == "succeeded"
    assert (running(device), mode(device)) == ("2.0.0", (False, False))
    # What runs already was left alone.
    assert not (device.run / "log").exists()


def test_a_power_cut_after_the_claim_of_a_redeploy_leaves_its_application_running(
    device, portal, send
):
    redeployed(device, portal, send)

    device.restart()
    device.turn()

    assert (running(device), mode(device)) == ("2.0.0", (True, True))
    (device.run / "running").unlink()
    device.restart()
    device.turn()
    assert (running(device), mode(device)) == ("2.0.0", (True, True))


def test_a_device_that_is_told_that_its_redeploy_does_not_hold_is_in_safe_mode_again(
    device, portal, send
):
    redeployed(device, portal, send)

    assert send("safe_mode", {"enter": True, "reason": "no proof"}, "c2")["status"] == "succeeded"
    device.turn()

    assert (running(device), mode(device)) == ("safe 2.0.0", (True, False))
    told = portal.updates.diagnostics[-1]
    assert (told["safe_mode"], told["leaving"], told["reason"]) == (True, False, "no proof")
    device.restart()
    device.turn()
    assert (running(device), mode(device)) == ("safe 2.0.0", (True, False))


def test_a_redeployed_application_that_does_not_start_again_brings_safe_mode_back(
    device, portal, send
):
    redeployed(device, portal, send)
    (device.run / "running").unlink()
    (folder(device) / "hooks" / "start").write_text("#!/bin/sh\nexit 1\n")

    for _ in range(3):
        device.restart()
        device.turn()

    assert (running(device), mode(device)) == ("safe 2.0.0", (True, False))
    told = portal.updates.diagnostics[-1]
    assert (told["safe_mode"], told["leaving"]) == (True, False)
    assert "failed to start 3 times" in told["reason"]


def test_a_redeploy_that_stays_ill_leaves_the_device_in_safe_mode(device, portal, send):
    deployed = redeployed(device, portal, send, hooks={"health": "exit 1"})

    assert end_of(portal, deployed)[:2] == ("rolled_back", "health")
    assert (running(device), mode(device)) == ("safe 1.0.0", (True, False))


@pytest.mark.parametrize("kept", ["whole", "spoilt", "gone"])
def test_a_redeploy_of_what_is_installed_mends_its_files_and_starts_it_again(
    device, portal, send, kept
):
    send("safe_mode", {"enter": True, "reason": "smoke"})
    releases = device.deployment.releases
    bundle = releases.bundle(releases.current())
    again = device.release("1.0.0")
    again.replace_bundle(bundle.read_bytes())
    if kept == "spoilt":
        bundle.write_bytes(b"x" * len(again.bundle))
    elif kept == "gone":
        bundle.unlink()
    (folder(device) / "app" / "version.txt").unlink()
    (folder(device) / "hooks" / "validate").write_text("#!/bin/sh\nexit 1\n")
    (folder(device) / "app" / "notes.txt").write_text("The application's own.")

    portal.updates.ranges.clear()
    deployed = portal.updates.offer_release(again, kind="redeploy")
    device.turn()

    assert end_of(portal, deployed)[0] == "claimed"
    assert running(device) == "1.0.0"
    assert (folder(device) / "app" / "version.txt").read_text() == "1.0.0"
    assert (folder(device) / "app" / "notes.txt").exists()
    assert bool(portal.updates.ranges) is (kept != "whole")
    assert mode(device) == (True, True)


def test_an_application_that_never_starts_brings_the_device_into_safe_mode(device, portal):
    (device.run / "running").unlink()
    hook = device.releases / device.deployment.releases.current() / "hooks" / "start"
    hook.write_text("#!/bin/sh\nexit 1\n")

    for _ in range(3):
        device.restart()
        device.turn()

    assert running(device) == "safe 1.0.0"
    assert "failed to start 3 times" in portal.updates.diagnostics[-1]["reason"]
    assert device.deployment.shown()["safe_mode"] is True


def test_an_application_that_is_gone_after_a_reboot_is_started_again(device):
    (device.run / "running").unlink()

    device.restart()
    device.turn()

    assert running(device) == "1.0.0"


def test_a_disk_that_refuses_once_does_not_start_a_release_without_its_version(device, monkeypatch):
    (device.run / "running").unlink()
    device.restart()
    read = Path.read_bytes
    refused = []

    def refuses_once(path):
        if path.suffix == ".json" and path.parent == device.releases and not refused:
            refused.append(path)
            raise OSError(errno.ENOSPC, "refused", path)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuses_once)
    device.turn()
    device.turn()

    assert refused
    assert running(device) == "1.0.0"


def test_drift_is_told_with_what_was_expected_and_told_again_when_it_is_gone(device, portal):
    loop = drift_loop(device)
    loop.turn()
    assert portal.updates.drifts == []

    (folder(device) / "app" / "version.txt").write_text("changed")
    (folder(device) / "app" / "data.bin").unlink()
    (folder(device) / "hooks" / "start").chmod(0o700)
    (folder(device) / "app" / "cache").write_text("new")
    loop.due()
    loop.turn()

    told = portal.updates.drifts[-1]
    kinds = {item["path"]: item["kind"] for item in told["items"]}
    assert told["release"] == "1.0.0"
    assert kinds == {
        "app/version.txt": "changed",
        "app/data.bin": "missing",
        "hooks/start": "mode",
        "app/cache": "added",
    }
    mode = next(item for item in told["items"] if item["kind"] == "mode")
    assert (mode["expected"], mode["actual"]) == ("0755", "0700")

    (folder(device) / "app" / "cache").unlink()
    assert device.deployment.running() is not None


def test_a_repair_puts_named_files_back_and_then_all(device, portal, send):
    version = folder(device) / "app" / "version.txt"
    version.write_text("changed")
    (folder(device) / "app" / "data.bin").unlink()
    drift_loop(device).turn()

    report = send("drift_repair", {"paths": ["app/version.txt"]})
    assert report["result"]["repaired"] == ["app/version.txt"]
    assert (version.read_text(), report["result"]["remaining"]) == ("1.0.0", 1)

    report = send("drift_repair", {}, "c2")
    assert (report["status"], report["result"]["remaining"]) == ("succeeded", 0)
    drift_loop(device).turn()
    assert portal.updates.drifts[-1]["items"] == []


def test_a_link_in_the_place_of_a_folder_does_not_lead_a_repair_elsewhere(device, send, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    app = device.releases / device.deployment.releases.current() / "app"
    for path in app.iterdir():
        path.unlink()
    app.rmdir()
    app.symlink_to(outside)

    assert send("drift_repair", {})["result"]["remaining"] == 0
    assert list(outside.iterdir()) == []
    assert not app.is_symlink()


def test_drift_check_tells_the_release_too(device, send):
    (folder(device) / "app" / "version.txt").write_text("changed")

    result = send("drift_check", {})["result"]

    assert result["release"] == "1.0.0"
    assert [item["path"] for item in result["release_drift"]] == ["app/version.txt"]


@pytest.fixture
def turns(device):
    """The update loop in a thread of its own."""
    thread = threading.Thread(target=device.loop.run, daemon=True)
    thread.start()
    yield
    device.loop.stop()
    thread.join(10)


def test_an_update_command_ends_as_its_update_does(device, portal, send, turns):
    update_id = portal.updates.offer_release(device.release("2.0.0", counter=2), kind="command")

    report = send("update", {"version": "2.0.0"})

    assert report["status"] == "succeeded"
    assert (report["result"]["update_id"], report["result"]["status"]) == (update_id, "claimed")
    assert running(device) == "2.0.0"


def test_an_update_command_without_an_offer_fails_and_says_so(device, send, turns):
    report = send("update", {"version": "9.0.0"})

    assert (report["status"], report["error_code"]) == ("failed", "not_offered")


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("drift_repair", {"paths": None}),
        ("safe_mode", {"enter": True, "reason": "smoke"}),
        ("update", {"version": "2.0.0"}),
    ],
)
def test_a_command_that_was_cut_is_gone_on_with_after_a_restart(
    device, portal, turns, kind, arguments
):
    portal.updates.offer_release(device.release("2.0.0", counter=2), kind="command")
    portal.queue("c1", kind, arguments)
    portal.commands["c1"]["status"] = "running"
    restarted, journal = executor(device)
    journal.write(Entry("c1", 1, kind, arguments=arguments), STARTED)

    restarted.recover()

    assert portal.report_of("c1")["status"] == "succeeded"

"""An update from the offer to the claim, against the portal's double."""

from __future__ import annotations

import os


def running(device):
    """What really runs, by the word of the application itself."""
    path = device.run / "running"
    return path.read_text().strip() if path.exists() else ""


def test_a_release_is_downloaded_unpacked_switched_to_and_claimed(make_device, portal):
    device = make_device()
    old, new = device.release("1.0.0"), device.release("2.0.0", counter=2)
    device.install(old)

    update_id = portal.updates.offer_release(new)
    device.turn()

    assert running(device) == "2.0.0"
    assert os.readlink(device.releases / "current") == new.release_id
    assert os.readlink(device.releases / "previous") == old.release_id
    end = portal.updates.ends[update_id]
    assert (end["status"], end["from_version"]) == ("claimed", "1.0.0")
    assert (end["running_version"], end["health_check_passed"]) == ("2.0.0", True)
    assert {"offered", "downloading", "unpacking", "switching", "checking"} <= set(end["timings"])
    steps = [report.get("step") for report in portal.updates.reports]
    assert steps == [
        "offered",
        "downloading",
        "verifying",
        "unpacking",
        "validating",
        "stopping",
        "switching",
        "starting",
        "checking",
        None,
    ]
    assert (device.run / "log").read_text().split("\n")[-3:-1] == ["stop 1.0.0", "start 2.0.0"]

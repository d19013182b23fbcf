"""An update from the offer to the claim, against the portal's double."""

from __future__ import annotations

import errno
import os
import tarfile
import time

import pytest
from update_double import bundle_of

from fleet_agent.updates import attempt
from fleet_agent.updates.release_store import ReleaseStore


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


def end_of(portal, update_id):
    end = portal.updates.ends[update_id]
    return end["status"], end.get("failure_class"), end.get("error_code")


def test_a_cut_download_goes_on_where_it_stopped(make_device, portal, monkeypatch):
    monkeypatch.setattr("fleet_agent.updates.download.Backoff.delay_s", lambda *_: 0.01)
    device = make_device()
    portal.updates.cut_after = 300

    update_id = portal.updates.offer_release(device.release("2.0.0"))
    device.turn()

    assert portal.updates.ranges == ["", "bytes=300-"]
    assert end_of(portal, update_id)[0] == "claimed"


@pytest.fixture
def impatient(monkeypatch):
    """Let a slow connection be noticed at once."""
    monkeypatch.setattr("fleet_agent.updates.download.Backoff.delay_s", lambda *_: 0.01)
    monkeypatch.setattr("fleet_agent.updates.download.SLOW_S", 0.1)
    monkeypatch.setattr("fleet_agent.updates.download.SLOW_BYTES", 100)


def test_a_download_that_drips_is_cut_and_goes_on_with_another_connection(
    make_device, portal, impatient
):
    device = make_device()
    portal.updates.drips = 2

    update_id = portal.updates.offer_release(device.release("2.0.0"))
    device.turn()

    first, *later = portal.updates.ranges
    assert first == ""
    assert len(later) == 2
    assert all(wanted.startswith("bytes=") for wanted in later)
    assert end_of(portal, update_id)[0] == "claimed"


def test_a_portal_that_only_drips_is_given_up_told_and_gone_on_with_later(
    make_device, portal, impatient
):
    device = make_device()
    release = device.release("2.0.0")
    portal.updates.drips = 100

    refused = portal.updates.offer_release(release)
    device.turn()

    assert end_of(portal, refused) == ("failed", "network", "slow_retrieval")
    assert len(portal.updates.ranges) == 5
    portal.updates.drips = 0
    taken = portal.updates.offer_release(release)
    device.turn()
    assert portal.updates.ranges[5].startswith("bytes=")
    assert end_of(portal, taken)[0] == "claimed"


def test_a_bundle_that_does_not_end_is_cut_at_the_signed_size(make_device, portal):
    device = make_device()
    release = device.release("2.0.0")
    portal.updates.endless = True

    update_id = portal.updates.offer_release(release)
    device.turn()

    assert end_of(portal, update_id) == ("failed", "verification", "too_long")
    assert not ReleaseStore(device.releases).part(release.release_id).exists()
    assert running(device) == ""


def test_a_link_that_has_expired_is_asked_for_again(make_device, portal):
    device = make_device()
    portal.updates.stale_links = 1

    update_id = portal.updates.offer_release(device.release("2.0.0"))
    device.turn()

    offers = [path for method, path, _, _ in portal.requests if path.endswith("/update")]
    assert len(offers) == 2
    assert end_of(portal, update_id)[0] == "claimed"


def test_the_device_token_does_not_go_along_with_a_download(make_device, portal):
    device = make_device()
    device.install(device.release("1.0.0"))

    headers = next(headers for _, path, headers, _ in portal.requests if "/files/" in path)
    assert "x-device-token" not in headers


def test_a_bundle_that_is_not_the_signed_one_is_refused_and_the_old_release_stays(
    make_device, portal
):
    device = make_device()
    device.install(device.release("1.0.0"))
    new = device.release("2.0.0", counter=2)
    update_id = portal.updates.offer_release(new)
    portal.updates.bundles[new.release_id] = b"x" * len(new.bundle)

    device.turn()

    assert end_of(portal, update_id) == ("failed", "verification", "bundle")
    assert running(device) == "1.0.0"


@pytest.mark.parametrize(
    "member",
    [
        ("../outside", tarfile.REGTYPE),
        ("/absolute", tarfile.REGTYPE),
        ("app/link", tarfile.SYMTYPE),
        ("app/hard", tarfile.LNKTYPE),
        ("app/fifo", tarfile.FIFOTYPE),
        ("app/unlisted", tarfile.REGTYPE),
    ],
)
def test_a_bundle_with_anything_but_listed_files_is_refused(make_device, portal, member):
    device = make_device()
    new = device.release("2.0.0")
    info = tarfile.TarInfo(member[0])
    info.type, info.linkname = member[1], "app/version.txt"
    new.replace_bundle(bundle_of([*new.members, (info, b"")]))

    update_id = portal.updates.offer_release(new)
    device.turn()

    assert end_of(portal, update_id)[:2] == ("failed", "verification")
    assert not device.releases.joinpath(new.release_id).exists()


def test_a_release_that_stays_ill_is_taken_back_with_its_own_words(make_device, portal):
    device = make_device()
    old = device.release("1.0.0")
    device.install(old)
    new = device.release("2.0.0", counter=2, hooks={"health": 'echo "no camera"; exit 1'})

    update_id = portal.updates.offer_release(new)
    device.turn()

    end = portal.updates.ends[update_id]
    assert end_of(portal, update_id) == ("rolled_back", "health", "unhealthy")
    assert "no camera" in end["error"]
    assert (end["running_version"], end["health_check_passed"]) == ("1.0.0", True)
    assert running(device) == "1.0.0"
    assert os.readlink(device.releases / "current") == old.release_id


def test_a_release_that_says_it_cannot_run_here_never_stops_the_old_one(make_device, portal):
    device = make_device()
    device.install(device.release("1.0.0"))

    new = device.release("2.0.0", counter=2, hooks={"validate": "echo too old a kernel; exit 3"})
    update_id = portal.updates.offer_release(new)
    device.turn()

    assert end_of(portal, update_id) == ("failed", "install", "validate_failed")
    assert "stop" not in (device.run / "log").read_text()


def test_without_permission_an_update_is_refused_and_the_portal_hears_why(make_device, portal):
    device = make_device(ALLOW_UPDATES="false")

    update_id = portal.updates.offer_release(device.release("2.0.0"))
    device.turn()

    assert end_of(portal, update_id) == ("failed", "refused", "not_allowed")
    assert "ALLOW_UPDATES=true" in portal.updates.ends[update_id]["error"]


def test_a_disk_without_room_is_seen_before_anything_is_fetched(make_device, portal, monkeypatch):
    device = make_device()
    monkeypatch.setattr(ReleaseStore, "free_bytes", lambda store: 1000)

    update_id = portal.updates.offer_release(device.release("2.0.0"))
    device.turn()

    assert end_of(portal, update_id) == ("failed", "space", "disk")
    assert portal.updates.ranges == []


def test_a_paused_update_is_prepared_and_waits_before_it_stops_anything(
    make_device, portal, monkeypatch
):
    device = make_device()
    device.install(device.release("1.0.0"))
    update_id = portal.updates.offer_release(device.release("2.0.0", counter=2), is_paused=True)
    waits = []

    def resume(seconds):
        waits.append(running(device))
        portal.updates.offer["is_paused"] = False

    monkeypatch.setattr(device.loop, "pause", resume)
    device.turn()

    assert waits == ["1.0.0"]
    assert "holding" in [report.get("step") for report in portal.updates.reports]
    assert end_of(portal, update_id)[0] == "claimed"


def test_an_update_that_is_taken_back_while_it_waits_ends_without_a_report(
    make_device, portal, monkeypatch
):
    device = make_device()
    device.install(device.release("1.0.0"))
    update_id = portal.updates.offer_release(device.release("2.0.0", counter=2), is_paused=True)

    def cancel(seconds):
        portal.updates.statuses[update_id] = "cancelled"

    monkeypatch.setattr(device.loop, "pause", cancel)
    device.turn()

    assert update_id not in portal.updates.ends
    assert running(device) == "1.0.0"
    assert device.deployment.states.state.is_confirmed


def test_a_way_back_to_a_release_that_has_run_here_needs_no_download(make_device, portal):
    device = make_device()
    old = device.release("1.0.0")
    device.install(old)
    device.install(device.release("2.0.0", counter=2))
    portal.updates.ranges.clear()

    update_id = portal.updates.offer_release(old, kind="rollback")
    device.turn()

    assert end_of(portal, update_id)[0] == "claimed"
    assert running(device) == "1.0.0"
    assert portal.updates.ranges == []


def test_a_report_that_does_not_arrive_is_sent_again_until_it_is_confirmed(make_device, portal):
    device = make_device()
    update_id = portal.updates.offer_release(device.release("2.0.0"))
    portal.fail(
        "/update-results", status=503, count=2, when=lambda body: body["status"] == "claimed"
    )

    device.turn()
    assert update_id not in portal.updates.ends
    device.restart()
    device.turn()
    device.turn()

    assert end_of(portal, update_id)[0] == "claimed"


def test_old_releases_go_and_those_in_use_stay(make_device):
    device = make_device(KEEP_RELEASES="1")
    for number in range(1, 5):
        device.install(device.release(f"{number}.0.0", counter=number))

    kept = {path.name for path in device.releases.glob("[0-9a-f]*.json")}
    assert len(kept) == 2
    assert running(device) == "4.0.0"
    assert len(list((device.releases / ".bundles").glob("*.tar.gz"))) == 2


def test_nothing_is_cleaned_away_while_the_disk_does_not_tell_what_there_is(
    make_device, monkeypatch
):
    device = make_device()
    device.install(device.release("1.0.0"))

    def refused(path):
        raise OSError(errno.ENOSPC, "refused", path)

    with monkeypatch.context() as disk:
        disk.setattr(os, "scandir", refused)
        ReleaseStore(device.releases).tidy(keep=1, wanted=set())

    assert ReleaseStore(device.releases).facts(os.readlink(device.releases / "current"))
    assert list((device.releases / ".bundles").glob("*.tar.gz"))


def test_the_portal_can_make_an_update_fail_only_where_the_owner_lets_it(make_device, portal):
    device = make_device(CHAOS="true")
    device.install(device.release("1.0.0"))

    update_id = portal.updates.offer_release(
        device.release("2.0.0", counter=2), chaos={"fail_at": "checking"}
    )
    device.turn()

    assert end_of(portal, update_id) == ("rolled_back", "health", "chaos")
    assert running(device) == "1.0.0"


@pytest.mark.parametrize(
    "chaos",
    [
        {"mode": "fail", "fail_at": "starting"},
        {"mode": "hang", "at": "starting"},
        {"mode": "false_success", "at": ""},
    ],
)
def test_a_rehearsal_the_owner_has_not_allowed_changes_nothing(make_device, portal, chaos):
    device = make_device()

    update_id = portal.updates.offer_release(device.release("2.0.0"), chaos=chaos)
    device.turn()

    assert (end_of(portal, update_id)[0], running(device)) == ("claimed", "2.0.0")


@pytest.mark.parametrize(
    ("step", "status"), [("downloading", "failed"), ("starting", "rolled_back")]
)
def test_an_update_that_hangs_on_purpose_is_silent_past_its_time_and_goes_back(
    make_device, portal, monkeypatch, step, status
):
    monkeypatch.setattr(attempt, "SILENT_S", 0.1)
    device = make_device(CHAOS="true")
    device.install(device.release("1.0.0"))

    update_id = portal.updates.offer_release(
        device.release("2.0.0", counter=2), chaos={"mode": "hang", "at": step}, timeout_s=1
    )
    began = time.monotonic()
    device.turn()

    assert time.monotonic() - began > 1
    assert end_of(portal, update_id) == (status, "timeout", "chaos")
    assert running(device) == "1.0.0"


def test_a_false_success_on_purpose_is_claimed_and_its_heartbeats_tell_the_truth(
    make_device, portal, make_source
):
    device = make_device(CHAOS="true")
    device.install(device.release("1.0.0"))

    update_id = portal.updates.offer_release(
        device.release("2.0.0", counter=2), chaos={"mode": "false_success", "at": ""}
    )
    device.turn()

    end = portal.updates.ends[update_id]
    assert (end["status"], end["running_version"]) == ("claimed", "2.0.0")
    beat = make_source(device.store, release=device.deployment.shown).build()
    assert (running(device), beat["version"]) == ("1.0.0", "1.0.0")


def test_heartbeats_name_the_release_that_runs(make_device, make_source):
    device = make_device()
    new = device.release("2.0.0")
    device.install(new)

    beat = make_source(device.store, release=device.deployment.shown).build()

    assert (beat["version"], beat["commit"]) == ("2.0.0", new.manifest["commit"])
    assert beat["status"]["release_id"] == new.release_id
    assert beat["status"]["safe_mode"] is False


def test_a_disk_that_refuses_to_read_what_runs_hides_the_version_from_nobody(
    make_device, portal, monkeypatch
):
    device = make_device()
    device.install(device.release("1.0.0"))
    update_id = portal.updates.offer_release(device.release("2.0.0", counter=2))
    monkeypatch.setattr(ReleaseStore, "facts", lambda self, release_id: None)

    device.turn()

    assert running(device) == "2.0.0"
    assert portal.updates.ends[update_id]["running_version"] == "2.0.0"
    assert device.deployment.running() is None
    monkeypatch.undo()
    assert device.deployment.running().version == "2.0.0"


def test_a_release_with_a_compose_file_is_started_and_judged_by_docker(
    make_device, portal, programs, tmp_path
):
    device = make_device()
    programs("docker", f'echo "$@" >> {tmp_path}/docker')
    release = device.release(
        "2.0.0",
        hooks=dict.fromkeys(("validate", "stop", "start", "health", "safe-mode"), ""),
        files={"compose.yml": b"services: {}\n"},
    )

    update_id = portal.updates.offer_release(release)
    device.turn()

    asked = [
        line.partition("compose.yml ")[2] for line in (tmp_path / "docker").read_text().splitlines()
    ]
    assert asked == [
        "config --quiet",
        "up --detach --remove-orphans",
        "up --detach --no-recreate --wait",
    ]
    assert portal.updates.ends[update_id]["health_check_passed"] is True

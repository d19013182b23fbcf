from __future__ import annotations

import io
import json
import tarfile

import pytest
from portal_double import TOKEN

from fleet_agent import conffile
from fleet_agent.commands.bundle import bundle_directory

NO_SYSTEMD = "echo 'System has not been booted with systemd as init system (PID 1).' >&2; exit 1"


def statuses(portal, command_id="c1"):
    return [patch["status"] for patch in portal.patches if patch["id"] == command_id]


def test_an_unknown_type_is_rejected_with_the_known_ones(make_bench):
    report = make_bench().send("selfdestruct", {})

    assert report["status"] == "rejected"
    assert "restart_service" in report["error"]


def test_an_update_is_rejected_where_nobody_takes_care_of_releases(make_bench, portal):
    report = make_bench().send("update", {"version": "2.0.0"})

    assert report["status"] == "rejected"
    assert "takes no care of releases" in report["error"]
    assert statuses(portal) == ["rejected"]


# restart_service


def test_a_listed_unit_is_restarted_with_its_real_output(make_bench, portal, programs, tmp_path):
    programs(
        "systemctl",
        f'echo "$@" >> {tmp_path}/calls\n'
        'case "$1" in restart) echo out; echo warn >&2;; is-active) echo active;; esac',
    )

    report = make_bench(ALLOWED_SERVICES="nginx, demo").send("restart_service", {"service": "demo"})

    assert statuses(portal) == ["running", "succeeded"]
    assert report["result"]["exit_status"] == 0
    assert report["result"]["active_state"] == "active"
    assert "out\nwarn\n" in report["output"]
    assert "is-active` says: active" in report["output"]
    assert "restart -- demo\n" in (tmp_path / "calls").read_text()


def test_a_failing_restart_fails_with_what_systemctl_said(make_bench, programs):
    programs("systemctl", "[ $1 = restart ] && echo 'Unit demo.service not found.' >&2; exit 5")

    report = make_bench(ALLOWED_SERVICES="demo").send("restart_service", {"service": "demo"})

    assert report["status"] == "failed"
    assert "Unit demo.service not found." in report["output"]
    assert report["result"]["exit_status"] == 5


def test_a_unit_that_fails_right_after_its_restart_is_a_failure(make_bench, programs):
    programs("systemctl", "[ $1 = is-active ] && { echo failed; exit 3; }; exit 0")

    report = make_bench(ALLOWED_SERVICES="demo").send("restart_service", {"service": "demo"})

    assert report["status"] == "failed"
    assert "failed at once" in report["error"]


@pytest.mark.parametrize(
    ("allowed", "service", "is_done"),
    [
        ("demo", "demo.service", True),
        ("demo.service", "demo", True),
        ("*", "anything@1", True),
        ("demo", "other", False),
        ("demo", "demo.timer", False),
        ("", "demo", False),
    ],
)
def test_the_list_of_the_owner_decides(make_bench, programs, allowed, service, is_done):
    programs("systemctl", "exit 0")

    report = make_bench(ALLOWED_SERVICES=allowed).send("restart_service", {"service": service})

    assert report["status"] == ("succeeded" if is_done else "rejected")


@pytest.mark.parametrize(
    "service",
    ["", "-h", "--all", "a b", "a;b", "../x", "a/b", "$(x)", "x" * 300, None, 5, ["demo"]],
)
def test_what_is_no_unit_name_is_rejected_even_when_any_is_allowed(make_bench, programs, service):
    programs("systemctl", "exit 0")

    report = make_bench(ALLOWED_SERVICES="*").send("restart_service", {"service": service})

    assert report["status"] == "rejected"


@pytest.mark.parametrize("has_systemctl", [True, False])
def test_without_systemd_the_service_program_is_used(make_bench, programs, has_systemctl):
    if has_systemctl:
        programs("systemctl", NO_SYSTEMD)
    programs("service", 'echo "restarting $1 $2"')

    report = make_bench(ALLOWED_SERVICES="demo").send(
        "restart_service", {"service": "demo.service"}
    )

    assert report["status"] == "succeeded"
    assert report["result"]["method"] == "service"
    assert "restarting demo restart" in report["output"]


def test_a_daemon_left_behind_does_not_hold_up_the_command(make_bench, programs, tmp_path):
    programs("service", f"/bin/sleep 20 & echo $! > {tmp_path}/daemon.pid; echo started")

    report = make_bench(ALLOWED_SERVICES="demo").send("restart_service", {"service": "demo"})

    assert report["status"] == "succeeded"
    assert report["result"]["seconds"] < 5


def test_a_restart_that_hangs_is_ended_and_told(make_bench, programs, monkeypatch):
    monkeypatch.setattr("fleet_agent.commands.restart_service.RESTART_TIMEOUT_S", 0.3)
    programs("systemctl", "[ $1 = restart ] && exec /bin/sleep 20; exit 0")

    report = make_bench(ALLOWED_SERVICES="demo").send("restart_service", {"service": "demo"})

    assert report["status"] == "failed"
    assert "was killed" in report["error"]


def test_output_is_bounded_and_plain(make_bench, programs):
    programs(
        "systemctl",
        "[ $1 = restart ] || exit 0\n"
        "i=0; while [ $i -lt 9000 ]\n"
        "do printf '\\033[31mline %d\\033[0m\\000\\007\\n' $i; i=$((i+1)); done",
    )

    report = make_bench(ALLOWED_SERVICES="demo").send("restart_service", {"service": "demo"})

    assert len(report["output"].encode()) <= 65536
    assert "line 8999" in report["output"]
    assert not set("\x00\x07\x1b") & set(report["output"])


def test_the_token_in_the_output_of_a_program_is_removed(make_bench, programs):
    programs("systemctl", f"echo token is {TOKEN}; exit 1")

    report = make_bench(ALLOWED_SERVICES="demo").send("restart_service", {"service": "demo"})

    assert TOKEN not in json.dumps(report)


# reboot


def test_a_reboot_is_rejected_unless_the_owner_allows_it(make_bench, programs, tmp_path):
    programs("systemctl", f"touch {tmp_path}/rebooted")

    report = make_bench().send("reboot", {})

    assert report["status"] == "rejected"
    assert "ALLOW_REBOOT" in report["error"]
    assert not (tmp_path / "rebooted").exists()


@pytest.mark.parametrize("delay", [-1, 3601, "5", 1.5, True, None])
def test_a_delay_out_of_bounds_is_rejected(make_bench, programs, delay):
    report = make_bench(ALLOW_REBOOT="true").send("reboot", {"delay_seconds": delay})

    assert report["status"] == "rejected"
    assert "0 to 3600" in report["error"]


@pytest.mark.parametrize(
    ("delay", "program", "arguments"),
    [
        (0, "systemctl", "reboot"),
        (1, "shutdown", "-r +1"),
        (60, "shutdown", "-r +1"),
        (61, "shutdown", "-r +2"),
    ],
)
def test_a_reboot_succeeds_when_the_machine_is_up_again(
    make_bench, portal, programs, tmp_path, delay, program, arguments
):
    programs(program, f'echo "$@" >> {tmp_path}/calls')
    bench = make_bench(ALLOW_REBOOT="true")

    assert bench.send("reboot", {"delay_seconds": delay}) == {}
    bench.executor.check_waiting()
    assert statuses(portal) == ["running"]
    bench.boot_id = "boot-two"
    bench.restart()
    bench.executor.recover()
    bench.executor.report_results()

    assert statuses(portal) == ["running", "succeeded"]
    assert portal.report_of("c1")["result"]["boot_id_after"] == "boot-two"
    assert (tmp_path / "calls").read_text() == f"{arguments}\n"


def test_a_reboot_that_cannot_be_started_fails_with_the_real_output(make_bench, programs):
    programs("systemctl", NO_SYSTEMD)
    programs("shutdown", "echo 'Failed to talk to init daemon.' >&2; exit 1")

    report = make_bench(ALLOW_REBOOT="true").send("reboot", {"delay_seconds": 0})

    assert report["status"] == "failed"
    assert "not been booted with systemd" in report["output"]
    assert "Failed to talk to init daemon." in report["output"]


def test_a_reboot_that_never_comes_fails_after_its_time(make_bench, portal, programs):
    programs("shutdown", "exit 0")
    bench = make_bench(ALLOW_REBOOT="true")
    bench.send("reboot", {"delay_seconds": 60})

    bench.restart()
    bench.executor.recover()
    assert portal.status_of("c1") == "running"
    bench.uptime_s += 60 + 601
    bench.executor.check_waiting()
    bench.executor.report_results()

    assert portal.status_of("c1") == "failed"


# config


def test_a_config_change_is_made_and_told(make_bench, portal):
    bench = make_bench(LOG_LEVEL="INFO")

    report = bench.send("config", {"changes": {"HEARTBEAT_INTERVAL": "30", "LOG_LEVEL": "debug"}})

    assert report["status"] == "succeeded"
    assert report["result"]["changed"] == {
        "HEARTBEAT_INTERVAL": {"old": None, "new": "30"},
        "LOG_LEVEL": {"old": "INFO", "new": "debug"},
    }
    assert (bench.store.settings.heartbeat_interval, bench.store.settings.log_level) == (
        30,
        "DEBUG",
    )


@pytest.mark.parametrize(
    "key",
    [
        "FLEET_ENABLED",
        "FLEET_URL",
        "DEVICE_ID",
        "DEVICE_TOKEN",
        "DEVICE_TOKEN_PENDING",
        "STATE_DIR",
        "ALLOWED_SERVICES",
        "ALLOW_REBOOT",
        "ALLOW_SCRIPTS",
        "DRIFT_PATHS",
        "RECORDINGS_DIR",
        "CA_FILE",
        "VERSION_FILE",
        "LD_PRELOAD",
    ],
)
def test_keys_that_guard_the_device_cannot_be_changed_from_afar(make_bench, key):
    bench = make_bench()
    before = bench.store.text()

    report = bench.send("config", {"changes": {key: "x", "HEARTBEAT_INTERVAL": "30"}})

    assert report["status"] == "rejected"
    assert key in report["error"]
    assert bench.store.text() == before


@pytest.mark.parametrize(
    "changes",
    [
        None,
        {},
        [],
        {"HEARTBEAT_INTERVAL": "1"},
        {"HEARTBEAT_INTERVAL": 30},
        {"LOG_LEVEL": ""},
        {"LOG_LEVEL": "INFO\nALLOW_REBOOT=true"},
    ],
)
def test_a_bad_change_changes_nothing(make_bench, changes):
    bench = make_bench()
    before = bench.store.text()

    report = bench.send("config", {"changes": changes})

    assert report["status"] == "rejected"
    assert bench.store.text() == before


# bundle


def unpacked(portal):
    with tarfile.open(fileobj=io.BytesIO(portal.bundles[0])) as archive:
        return {
            member.name.partition("/")[2]: archive.extractfile(member).read().decode()
            for member in archive.getmembers()
        }


def test_a_bundle_is_collected_uploaded_and_deleted(make_bench, portal, programs):
    programs("uname", "echo Linux test")
    programs("dmesg", "echo 'dmesg: Operation not permitted' >&2; exit 1")
    bench = make_bench(WIFI_PSK="hunter2-hunter2")

    report = bench.send("bundle", {"include_recordings": True})

    files = unpacked(portal)
    manifest = json.loads(files["manifest.json"])
    assert report["status"] == "succeeded"
    assert report["result"]["bundle_id"] == "bundle-1"
    assert report["result"]["size"] == len(portal.bundles[0])
    assert files["system/uname.txt"] == "Linux test\n"
    assert files["logs/agent.txt"] == "a line of the log\n"
    assert conffile.parse(files["config/fleet.conf"])["DEVICE_ID"] == "kiosk-7"
    assert any("journalctl" in note for note in manifest["notes"])
    assert any("recordings" in note for note in manifest["notes"])
    assert TOKEN not in str(files)
    assert "hunter2" not in str(files)
    assert list(bundle_directory(bench.store.state_dir).iterdir()) == []


def test_a_bundle_holds_only_what_was_asked_for(make_bench, portal, programs):
    make_bench().send("bundle", {"include_logs": False, "include_config": False})

    names = set(unpacked(portal))
    assert not [name for name in names if name.startswith(("logs/", "config/"))]
    assert "manifest.json" in names


def test_an_upload_is_tried_again(make_bench, portal, programs):
    portal.fail("/bundle", kind="drop", count=2)

    assert make_bench().send("bundle", {})["status"] == "succeeded"


def test_a_refused_upload_fails_and_leaves_no_file(make_bench, portal, programs):
    portal.fail("/bundle", status=413)
    bench = make_bench()

    report = bench.send("bundle", {})

    assert report["status"] == "failed"
    assert "413" in report["error"]
    assert list(bundle_directory(bench.store.state_dir).iterdir()) == []


def test_a_bundle_stays_below_its_size(make_bench, portal, programs, monkeypatch):
    monkeypatch.setattr("fleet_agent.support_bundle.MAX_BUNDLE_BYTES", 20_000)
    monkeypatch.setattr("fleet_agent.support_bundle.RESERVE_BYTES", 5_000)
    programs("uname", "/usr/bin/head -c 200000 /dev/urandom | /usr/bin/base64")

    make_bench().send("bundle", {})

    files = unpacked(portal)
    assert len(portal.bundles[0]) <= 20_000
    assert "system/uname.txt" not in files
    assert "left out" in files["manifest.json"]


def test_an_option_that_is_no_boolean_is_rejected(make_bench):
    assert make_bench().send("bundle", {"include_logs": "yes"})["status"] == "rejected"

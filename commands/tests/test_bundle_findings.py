"""Troubles in logs are found, counted and ordered; ordinary lines are none."""

import pytest

from bench.redaction.corpus import log_lines
from commands.bundles.contents.findings import TROUBLES, Findings

LINES = {
    "out_of_memory": "kernel: Out of memory: Killed process 812 (chromium) total-vm:1kB",
    "under_voltage": "kernel: [1.2] hwmon hwmon1: Undervoltage detected!",
    "read_only": "kernel: EXT4-fs (mmcblk0p2): Remounting filesystem read-only",
    "io_error": "kernel: blk_update_request: I/O error, dev mmcblk0, sector 1234",
    "unit_failed": "systemd[1]: kiosk.service: Failed with result 'exit-code'.",
    "disk_full": "app[1]: write failed: No space left on device",
    "clock_jump": "systemd[1]: Time has been changed",
    "segfault": "kernel: vlc[99]: segfault at 0 ip 0000 sp 0000 error 4",
    "kernel_panic": "kernel: Kernel panic - not syncing: VFS: Unable to mount root fs",
    "watchdog": "kernel: watchdog: watchdog0: watchdog did not stop!",
    "thermal": "kernel: CPU0: Core temperature above threshold, cpu clock throttled",
    "restarts": "systemd[1]: kiosk.service: Scheduled restart job, restart counter is at 7.",
}


def found(*lines: str, path: str = "logs/kernel.txt") -> list[dict]:
    findings = Findings()
    for number, line in enumerate(lines, start=1):
        findings.look(path, number, line)
    return findings.worst_first()


@pytest.mark.parametrize(("rule", "line"), LINES.items())
def test_each_trouble_is_found_in_the_line_that_tells_of_it(rule: str, line: str):
    (one,) = found("all is well", line)

    assert (one["rule"], one["line"], one["count"]) == (rule, 2, 1)
    assert one["message"] in line


def test_every_rule_has_its_line_here():
    assert {trouble.rule for trouble in TROUBLES} == set(LINES)


def test_the_same_trouble_is_counted_and_the_worst_comes_first():
    told = found(*[LINES["restarts"]] * 2, *[LINES["disk_full"]] * 3, LINES["kernel_panic"])

    assert [(one["rule"], one["count"]) for one in told] == [
        ("kernel_panic", 1),
        ("disk_full", 3),
        ("restarts", 2),
    ]


def test_units_are_told_apart_in_journals_and_lists():
    told = found(
        "systemd[1]: a.service: Failed with result 'exit-code'.",
        "systemd[1]: b.service: Failed with result 'exit-code'.",
        "● c.service  loaded failed failed Kiosk browser",
    )

    assert len(told) == 3


def test_a_disk_that_is_almost_full_is_found_in_df_but_not_an_image():
    told = found(
        "/dev/mmcblk0p2 ext4   29G   28G  500M  99% /",
        "/dev/loop1     squashfs 99M 99M 0 100% /snap/core",
        "/dev/sda1      ext4   29G   10G  19G  35% /data",
        path="system/df.txt",
    )

    assert [one["rule"] for one in told] == ["disk_full"]


def test_a_first_restart_and_a_steady_supply_are_no_trouble():
    assert not found(
        "systemd[1]: kiosk.service: Scheduled restart job, restart counter is at 1.",
        "throttled=0x0",
    )


def test_ordinary_lines_hold_no_trouble():
    assert not found(*log_lines(5_000))

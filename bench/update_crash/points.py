"""The points at which an agent is killed in an update, and one run of each."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench.update_crash.device import Device

STRACE = "strace"
# Everything by which an agent touches its disk, the network or another program.
CALLS = (
    "openat,write,fsync,ftruncate,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,symlink,"
    "symlinkat,readlink,fchmod,chmod,memfd_create,vfork,fork,clone,clone3,sendto,recvfrom,connect,"
    "wait4,waitid"
)
ERRORS = ("ENOSPC", "EIO")
# What a disk refuses that is full or broken.
DISK_CALLS = "openat,write,fsync,rename,mkdir,symlink,fchmod"
RESTARTS = 4
RESTART_PATIENCE_S = 30.0
_LINE = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?([a-z0-9_]+)\(")


@dataclass(frozen=True)
class Point:
    """The agent dies as it makes its n-th call of this name, or the call fails with `error`."""

    kind: str
    call: str
    n: int
    error: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.call} {self.n} {self.error or 'KILL'}"


@dataclass(frozen=True)
class Verdict:
    """What became of the update of one point."""

    point: Point
    was_killed: bool
    restarts: int
    running: str
    linked: str
    status: str
    told_running: str

    @property
    def is_one_release(self) -> bool:
        """Exactly one release runs, and the link names it."""
        return self.running in ("1.0.0", "2.0.0") and self.running == self.linked

    @property
    def is_true(self) -> bool:
        """The portal was told, and what it was told is so."""
        wanted = "2.0.0" if self.status == "claimed" else "1.0.0"
        is_an_end = self.status in ("claimed", "failed", "rolled_back")
        return is_an_end and self.running == wanted == self.told_running


def enumerate_points(kind: str) -> list[Point]:
    """Update once under observation; return a point for every call the update makes."""
    with tempfile.TemporaryDirectory() as directory, Device(Path(directory), kind) as device:
        device.install_old()
        record = Path(directory) / "strace.log"
        tracer = _attach(device, ["-o", str(record)], CALLS)
        device.offer_new()
        if not device.until(device.is_settled):
            raise RuntimeError(f"The observed update did not end: {device.log()}")
        device.kill()
        tracer.wait(10)
        return _points(kind, record.read_text())


def run_point(point: Point) -> Verdict:
    """Let an agent fail at one point, start it again until it has ended the update, and look."""
    with tempfile.TemporaryDirectory() as directory, Device(Path(directory), point.kind) as device:
        device.install_old()
        effect = f"error={point.error}" if point.error else "signal=KILL"
        inject = ["-o", "/dev/null", "-e", f"inject={point.call}:{effect}:when={point.n}"]
        tracer = _attach(device, inject, point.call)
        device.offer_new()
        device.until(lambda: device.is_settled() or not device.is_alive())
        was_killed = not device.is_alive()
        device.kill()
        tracer.wait(10)
        restarts = 0
        while restarts < RESTARTS and not device.is_settled():
            restarts += 1
            device.start()
            device.until(device.is_settled, RESTART_PATIENCE_S)
            device.kill()
        told = device.told()
        return Verdict(
            point=point,
            was_killed=was_killed,
            restarts=restarts,
            running=device.running(),
            linked=device.linked(),
            status=str(told.get("status")),
            told_running=str(told.get("running_version")),
        )


def _attach(device: Device, options: list[str], calls: str) -> subprocess.Popen[bytes]:
    """Trace the update's thread alone: only so is its n-th call the same in every run."""
    thread = device.update_thread()
    tracer = subprocess.Popen(
        [STRACE, "-qq", "-e", f"trace={calls}", *options, "-p", str(thread)],
        stderr=subprocess.DEVNULL,
    )
    status = Path(f"/proc/{device.pid}/task/{thread}/status")
    if not device.until(lambda: "TracerPid:\t0\n" not in status.read_text()):
        raise RuntimeError("strace could not attach to the agent. May this user trace processes?")
    return tracer


def _points(kind: str, record: str) -> list[Point]:
    matches = (_LINE.match(line) for line in record.splitlines())
    counts = Counter(match[1] for match in matches if match)
    deaths = [Point(kind, call, n) for call in sorted(counts) for n in range(1, counts[call] + 1)]
    refusals = [
        Point(kind, call, n, error)
        for error in ERRORS
        for call in DISK_CALLS.split(",")
        for n in range(1, counts[call] + 1)
    ]
    return deaths + refusals

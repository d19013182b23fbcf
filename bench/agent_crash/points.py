"""The points at which an agent is killed, and one run of each."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench.agent_crash.device import Device

STRACE = "strace"
# Everything by which an agent touches its disk, the network or another program.
CALLS = (
    "openat,write,pwrite64,fsync,fdatasync,ftruncate,rename,renameat,renameat2,unlink,unlinkat,"
    "rmdir,mkdir,fchmod,chmod,flock,memfd_create,vfork,fork,clone,clone3,sendto,sendmsg,recvfrom,"
    "connect,wait4,pread64"
)
# In its start an agent opens hundreds of files of Python's, which have nothing to do with commands.
RESTART_CALLS = "write,fsync,ftruncate,rename,unlink,sendto,recvfrom,flock"
RESTARTS = 3
RESTART_PATIENCE_S = 12.0
_LINE = re.compile(r"^(\d+) +([a-z0-9_]+)\(")


@dataclass(frozen=True)
class Point:
    """The agent dies as it makes its n-th call of this name. `phase` is run or restart."""

    kind: str
    phase: str
    call: str
    n: int

    def __str__(self) -> str:
        return f"{self.kind} {self.phase} {self.call} {self.n}"


@dataclass(frozen=True)
class Verdict:
    """What became of the command of one point."""

    point: Point
    was_killed: bool
    restarts: int
    effects: int
    status: str
    error_code: str
    unconfirmed: int

    @property
    def is_double(self) -> bool:
        return self.effects > 1

    @property
    def is_open(self) -> bool:
        return self.status not in ("succeeded", "failed")

    @property
    def is_lost(self) -> bool:
        """The result never arrived, or says something else than what happened."""
        denies = self.error_code == "not_started" and self.effects > 0
        invents = self.status == "succeeded" and self.effects == 0
        return self.unconfirmed > 0 or denies or invents


def enumerate_points(kind: str, phase: str) -> list[Point]:
    """Carry a command out once under observation and return a point for every call it makes."""
    with tempfile.TemporaryDirectory() as directory, Device(Path(directory)) as device:
        record = Path(directory) / "strace.log"
        if phase == "run":
            device.start()
            device.wait_for_claim()
            tracer = _attach(device, ["-o", str(record)], CALLS)
            device.queue(kind)
            device.until(device.is_settled)
            device.kill()
            tracer.wait(10)
        else:
            _die_with_a_result(device, kind)
            device.start(_tracer(["-f", "-b", "execve", "-o", str(record)], RESTART_CALLS))
            device.until(device.is_settled)
            device.wait_for_claim()
            device.kill()
        return _points(kind, phase, record.read_text())


def run_point(point: Point) -> Verdict:
    """Kill an agent at one point, start it again up to three times, and look at the outcome."""
    with tempfile.TemporaryDirectory() as directory, Device(Path(directory)) as device:
        inject = ["-o", "/dev/null", "-e", f"inject={point.call}:signal=KILL:when={point.n}"]
        if point.phase == "run":
            device.start()
            device.wait_for_claim()
            tracer = _attach(device, inject, point.call)
            device.queue(point.kind)
            device.until(lambda: device.is_settled() or not device.is_alive())
            was_killed = not device.is_alive()
            device.kill()
            tracer.wait(10)
        else:
            _die_with_a_result(device, point.kind)
            device.start(_tracer(["-f", "-b", "execve", *inject], point.call))
            device.until(lambda: device.is_settled() or not device.is_alive())
            was_killed = not device.is_alive()
            device.kill()
        return _verdict(device, point, was_killed=was_killed)


def _verdict(device: Device, point: Point, *, was_killed: bool) -> Verdict:
    restarts = 0
    while restarts < RESTARTS and not device.is_settled():
        restarts += 1
        device.recover_lease()
        device.start()
        device.until(device.is_settled, RESTART_PATIENCE_S)
        device.kill()
    # A script goes on without its agent; what it does late counts too.
    return Verdict(
        point=point,
        was_killed=was_killed,
        restarts=restarts,
        effects=device.effects(point.kind),
        status=device.portal.status_of(next(iter(device.portal.commands))),
        error_code=str(device.report().get("error_code") or ""),
        unconfirmed=device.unconfirmed(),
    )


def _die_with_a_result(device: Device, kind: str) -> None:
    """Have a command done whose result the portal does not take, and kill the agent then."""
    fault = device.portal.fail(
        "/commands/[^/]+$",
        method="PATCH",
        kind="drop",
        count=10_000,
        when=lambda body: body["status"] != "running",
    )
    device.start()
    device.queue(kind)
    if not device.until(device.unconfirmed):
        raise RuntimeError(f"The command has no result: {device.log()}")
    device.kill()
    device.portal.faults.remove(fault)


def _tracer(options: list[str], calls: str) -> list[str]:
    return [STRACE, "-qq", "-e", f"trace={calls}", *options]


def _attach(device: Device, options: list[str], calls: str) -> subprocess.Popen[bytes]:
    """Trace the command thread alone: only so is its n-th call the same in every run."""
    thread = device.command_thread()
    tracer = subprocess.Popen(
        [*_tracer(options, calls), "-p", str(thread)], stderr=subprocess.DEVNULL
    )
    status = Path(f"/proc/{device.pid}/task/{thread}/status")
    if not device.until(lambda: "TracerPid:\t0\n" not in status.read_text()):
        raise RuntimeError("strace could not attach to the agent. May this user trace processes?")
    return tracer


def _points(kind: str, phase: str, record: str) -> list[Point]:
    counts: Counter[tuple[str, str]] = Counter()
    for line in record.splitlines():
        match = _LINE.match(line)
        thread, call = match.groups() if match else ("", line.partition("(")[0])
        if re.fullmatch(r"[a-z0-9_]+", call):
            counts[thread, call] += 1
    most: dict[str, int] = {}
    for (_, call), number in counts.items():
        most[call] = max(most.get(call, 0), number)
    return [
        Point(kind, phase, call, n)
        for call, number in sorted(most.items())
        for n in range(1, number + 1)
    ]

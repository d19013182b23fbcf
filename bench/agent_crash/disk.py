"""An agent whose disk takes nothing: it begins nothing, says so, and recovers by itself."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.agent_crash.device import COMMAND, Device
from bench.agent_crash.points import STRACE

CODES = ("ENOSPC", "EIO")
# The agent asks its disk again every half minute.
RECOVERY_S = 60.0


@dataclass(frozen=True)
class DiskVerdict:
    """What an agent did without a disk, and afterwards."""

    code: str
    effects_without_disk: int
    is_told: bool
    is_done_afterwards: bool
    effects_afterwards: int

    @property
    def is_good(self) -> bool:
        """True when nothing was begun unjournalled, it was told, and the command was done once."""
        return (
            self.effects_without_disk == 0
            and self.is_told
            and self.is_done_afterwards
            and self.effects_afterwards == 1
        )


def run_without_disk(code: str) -> DiskVerdict:
    """Let every fsync of a running agent fail, queue a command, and let the disk come back."""
    with tempfile.TemporaryDirectory() as directory, Device(Path(directory)) as device:
        portal = device.portal
        portal.next_heartbeat_s = 0.5
        device.start()
        device.wait_for_claim()
        fault = f"inject=fsync,fdatasync:error={code}"
        options = ["-f", "-b", "execve", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"]
        tracer = subprocess.Popen(
            [STRACE, "-qq", *options, "-e", fault, "-p", str(device.pid)],
            stderr=subprocess.DEVNULL,
        )
        device.until(lambda: _is_traced(device))
        device.queue("restart_service")
        is_told = device.until(
            lambda: any("journal" in str(beat["errors"]) for beat in list(portal.heartbeats))
        )
        effects = device.effects("restart_service")
        tracer.terminate()
        tracer.wait(10)
        device.recover_lease()
        is_done = device.until(device.is_settled, RECOVERY_S)
        return DiskVerdict(
            code=code,
            effects_without_disk=effects,
            is_told=is_told,
            is_done_afterwards=is_done and portal.status_of(COMMAND) == "succeeded",
            effects_afterwards=device.effects("restart_service"),
        )


def _is_traced(device: Device) -> bool:
    statuses = Path(f"/proc/{device.pid}/task").glob("*/status")
    return all("TracerPid:\t0\n" not in path.read_text() for path in statuses)

"""Numbers for heartbeats, never used twice within one boot, whatever happens to the agent."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from fleet_agent.durable import write_atomically

BLOCK = 100
BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
log = logging.getLogger(__name__)


def boot_id() -> str:
    """Return the kernel's name for this boot; a constant where there is no such thing."""
    try:
        return BOOT_ID_FILE.read_text().strip()[:64]
    except OSError:
        return "unknown-boot"


def seconds_since_boot() -> int:
    """Seconds since boot, time asleep included; no clock setting changes it."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME))


class SequenceCounter:
    """Gives rising numbers. Blocks of them are reserved on disk, so that a disk write is rare.

    Every start jumps to at least the seconds since boot: numbers used while the disk was full
    could not be written down, and heartbeats never come faster than one a second for long.
    """

    def __init__(
        self, path: Path, *, boot: str, uptime_s: Callable[[], int] = seconds_since_boot
    ) -> None:
        self._path = path
        self._boot = boot
        self._uptime_s = uptime_s
        self._last = self._reserved_before()
        self._reserved = 0
        self._has_started = False
        self.trouble: Optional[str] = None

    def next(self) -> int:
        if self._last >= self._reserved:
            self._reserve()
        self._last += 1
        return self._last

    def _reserve(self) -> None:
        if not self._has_started or self.trouble:
            self._last = max(self._last, self._uptime_s())
            self._has_started = True
        wanted = self._last + BLOCK
        record = {"boot_id": self._boot, "reserved": wanted}
        try:
            write_atomically(self._path, json.dumps(record).encode())
        except OSError as error:
            if self.trouble is None:
                log.warning("Sequence numbers cannot be written to %s: %s", self._path, error)
            self.trouble = f"state directory cannot be written: {error.strerror}"
            return
        self._reserved = wanted
        self.trouble = None

    def _reserved_before(self) -> int:
        try:
            record = json.loads(self._path.read_text())
            return int(record["reserved"]) if record["boot_id"] == self._boot else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

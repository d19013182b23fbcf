"""Runs one script in the directory it is given, whatever becomes of the agent meanwhile.

Started by the agent as a program of its own (`python -I script_runner.py DIRECTORY`), in a session
of its own; standard library only. `job.json` says what to run. What it leaves behind decides what
the agent reports: `begun` (made once, by whoever comes first), `output`, `exit.json`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, BinaryIO, Optional

LOOK_S = 0.1
# Between asking a script to end and ending it.
TERM_PATIENCE_S = 5.0
# A daemon that the script left behind may hold its output open for ever.
DRAIN_S = 0.5
BLOCK_BYTES = 65_536


def main() -> int:
    directory = Path(sys.argv[1])
    # Held as long as this program lives, so that the agent can tell.
    with (directory / "runner.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not claim(directory):
            return 1
        report = Run(directory).run()
        write_durably(directory / "exit.json", json.dumps(report).encode())
    return 0


def claim(directory: Path) -> bool:
    """Make `begun`; False when it is there, and then nobody may run the script any more."""
    try:
        handle = os.open(directory / "begun", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return False
    os.close(handle)
    _sync(directory)
    return True


def write_durably(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    Path(name).replace(path)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Run:
    """One run: the script's output up to its limit, the script's time up to its limit."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._job: dict[str, Any] = json.loads((directory / "job.json").read_text())
        self._left_bytes = int(self._job["output_bytes"])
        self._is_truncated = False
        self._ended_by = ""
        self._kill_at: Optional[float] = None

    def run(self) -> dict[str, Any]:
        started = time.monotonic()
        try:
            with (self._directory / "output").open("wb", buffering=0) as sink:
                status = self._watched(self._start(), sink, started + float(self._job["timeout_s"]))
        except OSError as error:
            return {"exit_status": None, "ended_by": "error", "detail": str(error)}
        return {
            "exit_status": status,
            "ended_by": self._ended_by,
            "output_truncated": self._is_truncated,
            "seconds": round(time.monotonic() - started, 3),
        }

    def _start(self) -> subprocess.Popen[bytes]:
        work = self._directory / "work"
        work.mkdir(mode=0o700, exist_ok=True)
        with (self._directory / "arguments.json").open("rb") as arguments:
            return subprocess.Popen(
                self._job["command"],
                stdin=arguments,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=work,
                env=self._job["environment"],
                start_new_session=True,
            )

    def _watched(
        self, process: subprocess.Popen[bytes], sink: BinaryIO, deadline: float
    ) -> Optional[int]:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            is_open = True
            while process.poll() is None:
                self._look(process, deadline)
                if not is_open:
                    time.sleep(LOOK_S)
                elif selector.select(LOOK_S):
                    is_open = self._copy(process.stdout.fileno(), sink)
            end = time.monotonic() + DRAIN_S
            while is_open and time.monotonic() < end and selector.select(LOOK_S):
                is_open = self._copy(process.stdout.fileno(), sink)
        if self._ended_by:
            _signal(process, signal.SIGKILL)
        return process.returncode

    def _look(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        now = time.monotonic()
        if self._kill_at is not None:
            if now >= self._kill_at:
                _signal(process, signal.SIGKILL)
        elif (self._directory / "cancel").exists():
            self._end(process, "cancelled")
        elif now >= deadline:
            self._end(process, "timeout")

    def _end(self, process: subprocess.Popen[bytes], reason: str) -> None:
        self._ended_by = reason
        self._kill_at = time.monotonic() + TERM_PATIENCE_S
        _signal(process, signal.SIGTERM)

    def _copy(self, source: int, sink: BinaryIO) -> bool:
        try:
            data = os.read(source, BLOCK_BYTES)
        except BlockingIOError:
            return True
        kept = data[: self._left_bytes]
        self._is_truncated = self._is_truncated or len(kept) < len(data)
        self._left_bytes -= len(kept)
        # A full disk costs output, not the script.
        with contextlib.suppress(OSError):
            sink.write(kept)
        return bool(data)


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    # The script leads a session, so its number is that of its whole group.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


if __name__ == "__main__":
    sys.exit(main())

"""Running programs of the system: argument lists only, bounded in time and output."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Optional

from fleet_agent.redaction import plain_text

MAX_OUTPUT_BYTES = 64 * 1024
# Between two looks at whether a running program shall end.
CHECK_S = 0.2
# The same while its output is read: a program that has ended is noticed so soon.
READ_S = 0.02
READ_BYTES = 64 * 1024
# For what a program that has ended wrote last, where something it left running may write on.
LAST_WORDS_S = 0.05
_drains: list[subprocess.Popen[bytes]] = []
SECRET_VARIABLES = ("FLEET_ENROLLMENT_TOKEN",)


@dataclass(frozen=True)
class Finished:
    """What a program did: `exit_status` is None when it ran out of time and was killed."""

    arguments: tuple[str, ...]
    exit_status: Optional[int]
    output: str
    seconds: float

    @property
    def succeeded(self) -> bool:
        return self.exit_status == 0

    def told(self) -> str:
        """Say in one line how it ended."""
        line = " ".join(self.arguments)
        if self.exit_status is None:
            return f"`{line}` did not end within {self.seconds:.0f} s and was killed."
        return f"`{line}` ended with exit status {self.exit_status}."


def is_present(program: str) -> bool:
    return shutil.which(program) is not None


def run(
    arguments: list[str],
    *,
    timeout_s: float,
    max_output_bytes: int = MAX_OUTPUT_BYTES,
    sink: Optional[BinaryIO] = None,
    check: Optional[Callable[[], None]] = None,
    cwd: Optional[Path] = None,
    variables: Optional[dict[str, str]] = None,
) -> Finished:
    """Run a program and wait; output and errors come back in the order they were written.

    `sink` takes the output instead of a pipe. `check` is called while the program runs; what it
    raises ends the program and is raised. `variables` are added to its environment. What the
    program leaves running may go on printing; nobody reads it. Raises OSError when the program
    cannot be started.
    """
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(_Reader(4 * max_output_bytes)) if sink is None else None
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=sink if reader is None else reader.write_end,
            stderr=subprocess.STDOUT,
            env={**_environment(), **(variables or {})},
            cwd=cwd,
            start_new_session=True,
        )
        try:
            exit_status = _wait(process, started + timeout_s, check, reader)
        except BaseException:
            _kill(process)
            raise
        if exit_status is None:
            _kill(process)
        kept = reader.rest() if reader else _end_of(sink, 4 * max_output_bytes)
        output = plain_text(kept.decode("utf-8", "replace"), max_bytes=max_output_bytes)
    return Finished(tuple(arguments), exit_status, output, time.monotonic() - started)


class _Reader:
    """The agent's end of the pipe a program prints into; it keeps the last bytes."""

    def __init__(self, keep_bytes: int) -> None:
        self._keep = keep_bytes
        self._kept = bytearray()
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._is_over = False

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._read_end)
        self._close_write_end()

    def take(self, seconds: float) -> None:
        """Read what comes, for so long at the most."""
        self._close_write_end()
        if self._is_over:
            # Nothing more comes, and the program has not ended.
            time.sleep(seconds)  # As long as select would wait.
        elif select.select([self._read_end], [], [], seconds)[0]:
            data = os.read(self._read_end, READ_BYTES)
            self._is_over = not data
            self._kept = (self._kept + data)[-self._keep :]

    def rest(self) -> bytes:
        """Return what was kept; what goes on printing gets somebody else who reads."""
        deadline = time.monotonic() + LAST_WORDS_S
        while not self._is_over and time.monotonic() < deadline:
            self.take(LAST_WORDS_S)
        if not self._is_over:
            _drain(self._read_end)
        return bytes(self._kept)

    def _close_write_end(self) -> None:
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1


def _drain(handle: int) -> None:
    """Have a pipe read until its last writer is gone, also when the agent is gone by then.

    Kept in a file or in memory it would grow until there is no room; with nobody at the other end
    the writer would die of it.
    """
    # Ended ones are reaped here.
    _drains[:] = [drain for drain in _drains if drain.poll() is None]
    os.set_blocking(handle, True)
    program = shutil.which("cat")
    endless = "import os\nwhile os.read(0, 65536): pass"
    with contextlib.suppress(OSError):
        drain = subprocess.Popen(
            [program] if program else [sys.executable, "-c", endless],
            stdin=handle,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            start_new_session=True,
        )
        _drains.append(drain)


def _end_of(sink: Optional[BinaryIO], size: int) -> bytes:
    if sink is None:
        return b""
    there = sink.seek(0, os.SEEK_END)
    sink.seek(max(0, there - size))
    return sink.read()


def _environment() -> dict[str, str]:
    environment = {
        name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES
    }
    environment["LC_ALL"] = "C"
    return environment


def _wait(
    process: subprocess.Popen[bytes],
    deadline: float,
    check: Optional[Callable[[], None]],
    reader: Optional[_Reader],
) -> Optional[int]:
    while True:
        left_s = max(0.0, deadline - time.monotonic())
        if reader is not None:
            reader.take(min(left_s, READ_S))
            exit_status = process.poll()
        else:
            exit_status = _waited(process, left_s if check is None else min(left_s, CHECK_S))
        if exit_status is not None or time.monotonic() >= deadline:
            return exit_status
        if check is not None:
            check()


def _waited(process: subprocess.Popen[bytes], seconds: float) -> Optional[int]:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

"""Running programs of the system: argument lists only, bounded in time and output."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Optional

from fleet_agent.redaction import plain_text

MAX_OUTPUT_BYTES = 64 * 1024
# Between two looks at whether a running program shall end.
CHECK_S = 0.2
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

    `sink` takes the output instead of a file of the moment. `check` is called while the program
    runs; what it raises ends the program and is raised. `variables` are added to its environment.
    Raises OSError when the program cannot be started.
    """
    started = time.monotonic()
    # No pipe: a daemon that the program leaves behind would keep it open and the agent waiting.
    with contextlib.ExitStack() as stack:
        if sink is None:
            sink = stack.enter_context(os.fdopen(os.memfd_create("output"), "w+b"))
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**_environment(), **(variables or {})},
            cwd=cwd,
            start_new_session=True,
        )
        try:
            exit_status = _wait(process, started + timeout_s, check)
        except BaseException:
            _kill(process)
            raise
        if exit_status is None:
            _kill(process)
        size = sink.seek(0, os.SEEK_END)
        sink.seek(max(0, size - 4 * max_output_bytes))
        output = plain_text(sink.read().decode("utf-8", "replace"), max_bytes=max_output_bytes)
    return Finished(tuple(arguments), exit_status, output, time.monotonic() - started)


def _environment() -> dict[str, str]:
    environment = {
        name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES
    }
    environment["LC_ALL"] = "C"
    return environment


def _wait(
    process: subprocess.Popen[bytes], deadline: float, check: Optional[Callable[[], None]]
) -> Optional[int]:
    while True:
        left_s = deadline - time.monotonic()
        try:
            return process.wait(max(0.0, left_s if check is None else min(left_s, CHECK_S)))
        except subprocess.TimeoutExpired:
            if time.monotonic() >= deadline:
                return None
        if check is not None:
            check()


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

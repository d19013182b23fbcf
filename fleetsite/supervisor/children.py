"""The supervised processes: started, watched, started again, ended."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import psutil

from fleetsite.embedded.process import end, spawn
from fleetsite.embedded.servers import Server
from fleetsite.supervisor.options import PROJECT

# Every program started here carries its VAR_DIR in this variable: that is how the next start
# finds what a killed predecessor left.
MARK = "FLEET_UP"
FIRST_PAUSE = 0.3
LONGEST_PAUSE = 30.0
# A process that lived this long has recovered: its next pause is the first one again.
STEADY_AFTER = 30.0
LOG_LIMIT = 20 * 1024 * 1024


class Runnable(Protocol):
    """What a child runs."""

    name: str
    process: "subprocess.Popen[bytes] | None"

    def launch(self) -> None: ...


class Program:
    """One of the portal's own processes: gateway, worker, beat or agent."""

    def __init__(
        self, *, name: str, command: Sequence[str | Path], environ: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.command = command
        self.environ = environ
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        self.process = spawn(
            self.command,
            log=self.log,
            cwd=PROJECT,
            environment=self.environ,
            death=signal.SIGTERM,
        )


class Child:
    """A runnable with its pid file and the pause before its next start.

    `pause_when_stopped` is for a process somebody may want to see gone: after a signal or an end
    without complaint it waits so many seconds instead of coming back at once.
    """

    def __init__(
        self,
        runnable: Runnable | Server,
        *,
        run_dir: Path,
        pause_when_stopped: float | None = None,
    ) -> None:
        self.runnable = runnable
        self.name = runnable.name
        self.pid_file = run_dir / f"{self.name}.pid"
        self.restarts = 0
        self.pause_when_stopped = pause_when_stopped
        self._pause = FIRST_PAUSE
        self._started = 0.0
        self._due: float | None = None

    @property
    def pid(self) -> int | None:
        process = self.runnable.process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> None:
        self.runnable.launch()
        self.adopt()

    def adopt(self) -> None:
        """Watch a process that is already running."""
        self._started = time.monotonic()
        self._due = None
        draft = self.pid_file.with_suffix(".pid.new")
        draft.write_text(f"{self.pid}\n", encoding="utf-8")
        draft.replace(self.pid_file)

    def tend(self) -> str | None:
        """Start the process again when it has ended and its pause is over; return what to say."""
        if self.pid is not None:
            return None
        now = time.monotonic()
        if self._due is None:
            return self._note_end(now)
        if now >= self._due:
            self.restarts += 1
            try:
                self.start()
            except Exception as problem:  # noqa: BLE001 - one child must not end the others
                self._due = now + self._pause
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
                return f"{self.name} could not be started ({problem}); trying again."
        return None

    def _note_end(self, now: float) -> str:
        self.end_group(signal.SIGKILL)
        if now - self._started > STEADY_AFTER:
            self._pause = FIRST_PAUSE
        if self.pause_when_stopped and self._was_stopped():
            self._due = now + self.pause_when_stopped
            return f"{self.name} {self.how_it_ended()}; it stays away for {self._due - now:.0f} s."
        self._due = now + self._pause
        said = f"{self.name} {self.how_it_ended()}; starting it again in {self._pause:.1f} s."
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        return said

    def _was_stopped(self) -> bool:
        code = self.runnable.process.returncode if self.runnable.process else None
        return code is not None and code <= 0

    def how_it_ended(self) -> str:
        code = self.runnable.process.returncode if self.runnable.process else None
        if code is None or code >= 0:
            return f"ended with code {code}"
        return f"was ended by {signal.Signals(-code).name}"

    def end_group(self, number: signal.Signals) -> None:
        """Signal the process and what it started: each child leads a group of its own."""
        if self.runnable.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.runnable.process.pid, number)

    def forget(self) -> None:
        self.pid_file.unlink(missing_ok=True)


def end_programs(children: Sequence[Child], *, patience: float) -> None:
    """Ask all to end, wait up to `patience` seconds, then kill them with all they started."""
    for child in children:
        if child.pid is not None and child.runnable.process is not None:
            child.runnable.process.terminate()
    deadline = time.monotonic() + patience
    for child in children:
        if child.runnable.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.runnable.process.wait(max(0.0, deadline - time.monotonic()))
        child.end_group(signal.SIGKILL)
        child.forget()


def end_orphans(var_dir: Path) -> None:
    """End the programs a killed predecessor left on this VAR_DIR."""
    orphans = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == str(var_dir):
                orphans.append(process)
    end(orphans, number=signal.SIGTERM, patience=3)


def rotate(log: Path) -> None:
    """Keep one predecessor of a log that has grown; its writers append and need no notice."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > LOG_LIMIT:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)

"""The directory of one run of a script: prepared, started, looked at, removed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

import psutil

from fleet_agent import script_runner
from fleet_agent.durable import sync_directory

FINISHED, RUNNING, NOT_BEGUN, LOST = "finished", "running", "not begun", "lost"


class ScriptJob:
    """One run of one script, named by command and attempt."""

    def __init__(self, state_dir: Path, name: str) -> None:
        self.directory = jobs_directory(state_dir) / name

    @property
    def output(self) -> Path:
        return self.directory / "output"

    def prepare(self, *, body: str, arguments: dict[str, Any], job: dict[str, Any]) -> None:
        """Write everything the runner needs. `job["command"]` gets the body's path. OSError."""
        # Made aside and put in place whole: a runner of an earlier try may still be coming up.
        made = self.directory.with_name(f".{self.directory.name}")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(mode=0o700, parents=True)
        environment = {**job["environment"], "TMPDIR": str(self.directory / "work")}
        command = [*job["command"], str(self.directory / "script")]
        texts = {
            "script": body,
            "arguments.json": json.dumps(arguments),
            "job.json": json.dumps({**job, "command": command, "environment": environment}),
        }
        for name, text in texts.items():
            script_runner.write_durably(made / name, text.encode())
        shutil.rmtree(self.directory, ignore_errors=True)
        made.rename(self.directory)
        sync_directory(self.directory.parent)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the runner, which goes on without the agent. Raises OSError."""
        return subprocess.Popen(
            # Isolated: no variable of the environment may change what it imports.
            [sys.executable, "-I", script_runner.__file__, str(self.directory)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.directory,
            start_new_session=True,
        )

    def state(self) -> str:
        """Tell how far the run is; LOST means begun by a runner that is gone without a word."""
        # The order matters: a runner writes its report before it lets go of the lock.
        is_alive = self._is_locked()
        if (self.directory / "exit.json").exists():
            return FINISHED
        if is_alive:
            return RUNNING
        return LOST if (self.directory / "begun").exists() else NOT_BEGUN

    def give_up(self) -> bool:
        """Make sure it never begins; False when it has begun."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return script_runner.claim(self.directory)
        except OSError:
            return False

    def cancel(self) -> None:
        """Ask the runner to end the script: first politely, five seconds later for good."""
        (self.directory / "cancel").touch()

    def report(self) -> dict[str, Any]:
        """Return what the runner left; empty when it left nothing readable."""
        try:
            record = json.loads((self.directory / "exit.json").read_text())
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes of the output so far."""
        try:
            with self.output.open("rb") as stream:
                stream.seek(offset)
                return stream.read(size)
        except FileNotFoundError:
            return b""

    def tail(self, size: int) -> str:
        """Return the end of the output."""
        try:
            length = self.output.stat().st_size
        except OSError:
            return ""
        return self.read(max(0, length - size), size).decode("utf-8", "replace")

    def end_orphans(self) -> None:
        """Kill what a runner that was killed itself has left running in this directory."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if Path(process.cwd()).is_relative_to(self.directory):
                    process.kill()

    def remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def _is_locked(self) -> bool:
        try:
            with (self.directory / "runner.lock").open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


def jobs_directory(state_dir: Path) -> Path:
    return state_dir / "scripts"


def remove_other_jobs(state_dir: Path, *, wanted: set[str]) -> None:
    """Delete what runs have left behind that nobody will report any more."""
    try:
        names = os.listdir(jobs_directory(state_dir))
    except OSError:
        return
    for name in names:
        if name not in wanted:
            ScriptJob(state_dir, name).remove()


def job_name(command_id: str, attempt: int) -> str:
    """Return a name that is safe in a path; ids come from the portal."""
    plain = "".join(char for char in command_id if char.isalnum() or char == "-")[:80]
    return f"{plain}-{attempt}"


def safe_environment(extra: dict[str, str], path: Optional[str]) -> dict[str, str]:
    """Return all a script sees of the environment: nothing of the agent's own."""
    return {
        "PATH": path or "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/nonexistent",
        **extra,
    }

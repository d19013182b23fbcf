"""This machine as the portal's first device: enrolling the agent and keeping its settings right."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from fleetsite.embedded.process import last_lines
from fleetsite.embedded.vault import write_private
from fleetsite.supervisor.children import MARK, Program
from fleetsite.supervisor.options import Options

ENROLL_PATIENCE = 30.0
# Short, so that a newcomer sees the device live, and gone when its agent stops.
HEARTBEAT_INTERVAL_S = 15


class Machine:
    """The agent of `make up` and its directory."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.directory = options.var_dir / "agent"
        self.config = self.directory / "fleet.conf"
        self.log = options.var_dir / "logs" / "agent.log"

    @property
    def program(self) -> Path:
        return Path(sys.executable).parent / "fleet-agent"

    def is_enrolled(self) -> bool:
        return bool(read_config(self.config).get("DEVICE_TOKEN"))

    def forget(self) -> None:
        """Drop an enrolment with a portal that no longer exists."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(mode=0o700)

    def prepare(self) -> None:
        """Write the settings the enrolment reads: the pace this machine asks for."""
        if not self.config.exists():
            self.directory.mkdir(mode=0o700, exist_ok=True)
            write_private(self.config, f"HEARTBEAT_INTERVAL={HEARTBEAT_INTERVAL_S}\n")

    def enroll(self, token: str) -> str | None:
        """Enrol with the running portal; return why it did not work, or None."""
        name = socket.gethostname()
        command = [
            str(self.program), "enroll", "--url", self.options.local_url,
            "--config", str(self.config), "--name", name, "--role", "portal-host",
        ]  # fmt: skip
        environ = self._environ() | {"FLEET_ENROLLMENT_TOKEN": token}
        try:
            with self.log.open("ab") as log:
                done = subprocess.run(
                    command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    timeout=ENROLL_PATIENCE, check=False, cwd=self.directory,
                )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as problem:
            return f"This machine was not enrolled: {problem} (see {self.log})."
        if done.returncode != 0:
            reason = last_lines(self.log) or f"code {done.returncode}"
            return f"This machine was not enrolled: {reason} (see {self.log})."
        return None

    def settle(self) -> None:
        """Set what `make up` decides for its own agent; keep every other line as it is."""
        change_config(
            self.config,
            first={
                "ALLOWED_SERVICES": "*",
                "ALLOW_REBOOT": "false",
                "ALLOW_SCRIPTS": "true",
                "ALLOW_UPDATES": "true",
                "UPDATE_TRUST": "staged",
            },
            always={"FLEET_URL": self.options.local_url},
        )

    def agent(self) -> Program:
        return Program(
            name="agent",
            command=[self.program, "run", "--config", self.config],
            environ=self._environ(),
            log=self.log,
        )

    def _environ(self) -> dict[str, str]:
        """The agent gets none of the portal's secrets."""
        kept = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR")
        found = {name: os.environ[name] for name in kept if name in os.environ}
        return found | {MARK: str(self.options.var_dir), "PYTHONUNBUFFERED": "1"}


def read_config(path: Path) -> dict[str, str]:
    """The KEY=VALUE lines of `path`; empty when there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in lines if not line.lstrip().startswith("#"))
    return {key.strip(): value.strip() for key, sign, value in pairs if sign}


def change_config(path: Path, *, first: dict[str, str], always: dict[str, str]) -> None:
    """Write `always`, and `first` once: a person may change those afterwards."""
    note = path.with_name(".settled")
    wanted = always if note.exists() else first | always
    known = read_config(path)
    if any(known.get(key) != value for key, value in wanted.items()):
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.partition("=")[0].strip() not in wanted]
        text = "\n".join([*kept, *(f"{key}={value}" for key, value in wanted.items())]) + "\n"
        handle, draft = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
        Path(draft).replace(path)
    note.touch()

"""A real agent in a directory of its own, with stand-ins for the programs it may start."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.tests.portal_double import DEVICE, TERMINAL, TOKEN, PortalDouble

AGENT = Path(__file__).parents[2] / "agent"
COMMAND = "01890000-0000-7000-8000-000000000001"
# Threads of an agent in the order in which they are made: main, heartbeat, command, stream.
COMMAND_THREAD = 2
PATIENCE_S = 20.0
SYSTEMCTL = """#!/bin/sh
case $1 in
restart) echo x >> {effects} ;;
show) n=$(/usr/bin/wc -l < {effects}); echo InvocationID=run-$n; echo ActiveState=active ;;
is-active) echo active ;;
esac
"""
CONFIG = """FLEET_ENABLED=true
FLEET_URL={url}
DEVICE_ID={device}
DEVICE_TOKEN={token}
STATE_DIR={state}
ALLOWED_SERVICES=demo
ALLOW_SCRIPTS=true
HEARTBEAT_INTERVAL=60
"""
PAYLOADS: dict[str, dict[str, Any]] = {
    "restart_service": {"service": "demo"},
    "config": {"changes": {"HEARTBEAT_INTERVAL": "30"}},
    "run_script": {"script": "demo", "version": 1, "arguments": {}},
}


class Device:
    """One agent and the portal it talks to; both live in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.effects_file = directory / "effects"
        self.effects_file.touch()
        self.portal = PortalDouble()
        self.portal.next_heartbeat_s = 3600.0
        self.portal.start()
        self.portal.know(DEVICE, TOKEN)
        self._key = Ed25519PrivateKey.generate()
        self._process: subprocess.Popen[bytes] | None = None
        self._prepare()

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.portal.stop()

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, tracer: list[str] | None = None) -> None:
        """Start the agent, under a tracer if one is given."""
        command = [sys.executable, "-m", "fleet_agent", "run", "--config", self._config]
        path = f"{self.directory / 'bin'}:/usr/bin:/bin"
        with (self.directory / "agent.log").open("ab") as sink:
            self._process = subprocess.Popen(
                [*(tracer or []), *map(str, command)],
                stdout=sink,
                stderr=sink,
                env={"PATH": path, "PYTHONPATH": str(AGENT), "PYTHONDONTWRITEBYTECODE": "1"},
                cwd=self.directory,
                start_new_session=True,
            )

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def until(self, condition: Callable[[], Any], seconds: float = PATIENCE_S) -> bool:
        """Wait until the condition holds; False when it does not in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def wait_for_claim(self) -> None:
        if not self.until(lambda: self.portal.claims_open > 0 or not self.is_alive()):
            raise RuntimeError(f"The agent asks for no command: {self.log()}")

    def command_thread(self) -> int:
        """Return the kernel's number of the thread that carries commands out."""
        tasks = sorted(int(path.name) for path in Path(f"/proc/{self.pid}/task").iterdir())
        return tasks[COMMAND_THREAD]

    def queue(self, kind: str) -> None:
        self.portal.queue(COMMAND, kind, PAYLOADS[kind])

    def recover_lease(self) -> None:
        """Hand a command out again that nobody began, as the portal's sweep does."""
        command = self.portal.commands[COMMAND]
        if command["status"] == "delivered":
            with self.portal.changed:
                command.update(status="queued", attempt=command["attempt"] + 1)

    def has_ended(self) -> bool:
        return self.portal.commands[COMMAND]["status"] in TERMINAL

    def is_settled(self) -> bool:
        """True when the portal has the result and the agent knows that it has."""
        return self.has_ended() and not self.unconfirmed()

    def unconfirmed(self) -> int:
        """Count the results in the journal that nobody has confirmed."""
        phases: dict[Any, str] = {}
        journal = self.state / "journal.jsonl"
        for line in journal.read_text().splitlines() if journal.exists() else []:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            phases[record.get("id"), record.get("attempt")] = str(record.get("phase"))
        return sum(phase == "result" for phase in phases.values())

    def effects(self, kind: str) -> int:
        """Count how often the command has done what it does."""
        if kind == "config":
            # A value written twice is the same value: only a torn or doubled line would show.
            text = self._config.read_text()
            return text.count("HEARTBEAT_INTERVAL=30\n") + 2 * (text.count("HEARTBEAT_") != 1)
        return len(self.effects_file.read_text().split())

    def report(self) -> dict[str, Any]:
        return self.portal.report_of(COMMAND)

    def log(self) -> str:
        return (self.directory / "agent.log").read_text()[-2000:]

    @property
    def _config(self) -> Path:
        return self.directory / "fleet.conf"

    def _prepare(self) -> None:
        programs = self.directory / "bin"
        programs.mkdir()
        systemctl = programs / "systemctl"
        systemctl.write_text(SYSTEMCTL.format(effects=self.effects_file))
        systemctl.chmod(0o755)
        self.state.mkdir()
        self._config.write_text(
            CONFIG.format(url=self.portal.url, device=DEVICE, token=TOKEN, state=self.state)
        )
        self._store_script()

    def _store_script(self) -> None:
        raw = self._key.public_key().public_bytes_raw()
        public = {"key_id": "bench", "public_key": base64.b64encode(raw).decode()}
        self.portal.config = {"signing_keys": [public], "organization": "bench"}
        document = {
            "arguments_schema": {},
            "body": f"echo x >> {self.effects_file}; echo done",
            "interpreter": "sh",
            "name": "demo",
            "organization": "bench",
            "output_bytes": 10_000,
            "timeout_s": 30,
            "version": 1,
        }
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        signature = base64.b64encode(self._key.sign(text.encode())).decode()
        self.portal.scripts[COMMAND] = {
            "document": text,
            "signature": signature,
            "key_id": "bench",
        }

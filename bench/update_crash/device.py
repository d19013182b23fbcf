"""A real agent with a release that runs, and the portal it gets the next one from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.tests.portal_double import DEVICE, TOKEN, PortalDouble
from agent.tests.update_double import UpdateBook, make_release
from bench.update_crash import THREAD_FILE

AGENT = Path(__file__).parents[2] / "agent"
PATIENCE_S = 30.0
CONFIG = """FLEET_ENABLED=true
FLEET_URL={url}
DEVICE_ID={device}
DEVICE_TOKEN={token}
STATE_DIR={state}
ALLOW_UPDATES=true
HEARTBEAT_INTERVAL=60
DRIFT_INTERVAL=0
"""
KINDS = ("good", "ill")


class Device:
    """One agent, all of it in `directory`. `kind` is how the next release turns out."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.directory = directory
        self.run = directory / "run"
        self.run.mkdir()
        (directory / "state").mkdir()
        self.portal = PortalDouble()
        self.book = self.portal.updates = UpdateBook()
        self.portal.next_heartbeat_s = 3600.0
        self.portal.has_stream = True
        self.portal.start()
        self.portal.know(DEVICE, TOKEN)
        self.old = make_release("1.0.0", run=str(self.run))
        hooks = {"health": "exit 1"} if kind == "ill" else {}
        self.new = make_release("2.0.0", run=str(self.run), counter=2, hooks=hooks)
        self.update_id = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.config.write_text(
            CONFIG.format(
                url=self.portal.url, device=DEVICE, token=TOKEN, state=directory / "state"
            )
        )

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.portal.stop()

    @property
    def config(self) -> Path:
        return self.directory / "fleet.conf"

    @property
    def releases(self) -> Path:
        return self.directory / "state" / "releases"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, tracer: list[str] | None = None) -> None:
        """Start the agent, under a tracer if one is given."""
        command = [sys.executable, "-m", "bench.update_crash.agent_main", str(self.config)]
        with (self.directory / "agent.log").open("ab") as sink:
            self._process = subprocess.Popen(
                [*(tracer or []), *command],
                stdout=sink,
                stderr=sink,
                env={
                    "PATH": "/usr/bin:/bin",
                    "PYTHONPATH": f"{AGENT}:{AGENT.parent}",
                    "PYTHONDONTWRITEBYTECODE": "1",
                },
                cwd=self.directory,
                start_new_session=True,
            )

    def install_old(self) -> None:
        """Let the old release run, and the agent wait for what comes."""
        first = self.book.offer_release(self.old)
        self.start()
        if not self.until(lambda: first in self.book.ends and self.portal.streams_open):
            raise RuntimeError(f"The first release was not installed: {self.log()}")

    def offer_new(self) -> None:
        with self.portal.changed:
            self.update_id = self.book.offer_release(self.new)
            self.portal.events.append(("update_available", {}))
            self.portal.changed.notify_all()

    def is_settled(self) -> bool:
        return self.update_id in self.book.ends

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

    def update_thread(self) -> int:
        """Return the kernel's number of the thread that updates, as it has left it."""
        return int((self.directory / THREAD_FILE).read_text())

    def running(self) -> str:
        """Return the version that really runs, by the application's own word."""
        path = self.run / "running"
        return path.read_text().strip() if path.exists() else ""

    def linked(self) -> str:
        """Return the version that `current` names."""
        link = self.releases / "current"
        names = {self.old.release_id: "1.0.0", self.new.release_id: "2.0.0"}
        return names.get(os.readlink(link), "?") if link.is_symlink() else ""

    def told(self) -> dict[str, Any]:
        """Return the end of the update as the portal has heard it."""
        return self.book.ends.get(self.update_id, {})

    def log(self) -> str:
        return (self.directory / "agent.log").read_text()[-2000:]

"""A real agent in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Optional

AGENT_DIR = Path(__file__).parents[1]


class AgentProcess:
    """`fleet-agent run`; its output goes to a file that the test can read at any time."""

    def __init__(self, *, config: Path, programs: Path, log: Path) -> None:
        self._config = config
        self._programs = programs
        self._log = log
        self._process: Optional[subprocess.Popen[bytes]] = None

    def start(self) -> None:
        with self._log.open("ab") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fleet_agent", "run", "--config", str(self._config)],
                stdout=sink,
                stderr=sink,
                cwd=self._log.parent,
                # Nothing but the stand-ins: no test may restart or reboot anything.
                env={"PATH": str(self._programs), "PYTHONPATH": str(AGENT_DIR)},
            )

    def kill(self) -> None:
        """End it as a power cut would."""
        self._running().kill()
        self._running().wait(10)

    def terminate(self) -> tuple[int, float]:
        """Ask it to end; return the exit status and the seconds it took."""
        started = time.monotonic()
        self._running().send_signal(signal.SIGTERM)
        status = self._running().wait(10)
        return status, time.monotonic() - started

    def wait(self) -> int:
        return self._running().wait(15)

    def is_alive(self) -> bool:
        return self._running().poll() is None

    def output(self) -> str:
        return self._log.read_text()

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process


def run_cli(
    *arguments: str, env: Optional[dict[str, str]] = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fleet_agent", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": os.defpath, "PYTHONPATH": str(AGENT_DIR), **(env or {})},
    )

"""Starting, stopping and checking a release by what its bundle brings: hooks, or a compose file."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import psutil

from fleet_agent import processes
from fleet_agent.redaction import remove_secrets
from fleet_agent.updates.errors import HEALTH, INSTALL, TIMEOUT, UpdateFailedError
from fleet_agent.updates.facts import COMPOSE_FILES

# The containers of every release are one project, so that a new release replaces the old one's.
PROJECT = "fleet-release"
VALIDATE, STOP, START, HEALTH_CHECK, SAFE_MODE = "validate", "stop", "start", "health", "safe-mode"
OUTPUT_BYTES = 16 * 1024
TOLD_CHARS = 2000


@dataclass(frozen=True)
class Limits:
    """Seconds. `health_s` is how long a release may take to become healthy."""

    validate_s: float = 120.0
    stop_s: float = 120.0
    start_s: float = 300.0
    health_s: float = 120.0
    one_health_s: float = 30.0
    health_pause_s: float = 2.0


@dataclass(frozen=True)
class Application:
    """What one release runs. `check` is called while its programs run and may raise to end them;
    `pause` waits between two looks at its health.
    """

    folder: Path
    release_id: str
    version: str
    limits: Limits
    check: Callable[[], None]
    pause: Callable[[float], object]

    def validate(self, *, left_s: float) -> None:
        """Raises UpdateFailedError when the release says that it cannot run here."""
        if self._needs_docker():
            raise UpdateFailedError(
                INSTALL, "no_docker", "The release is started by docker, which is not here."
            )
        self._hook(VALIDATE, min(self.limits.validate_s, left_s))
        compose = self._compose("config", "--quiet")
        if compose:
            self._run(VALIDATE, compose, min(self.limits.validate_s, left_s))

    def stop(self) -> None:
        """End the application, or what runs in its place in safe mode. UpdateFailedError."""
        if not self._hook(STOP, self.limits.stop_s):
            self._by_compose(STOP, self.limits.stop_s, "stop")

    def start(self) -> None:
        """Start the application; it may run already. Raises UpdateFailedError."""
        if not self._hook(START, self.limits.start_s):
            self._by_compose(START, self.limits.start_s, "up", "--detach", "--remove-orphans")

    def start_safe_mode(self) -> bool:
        """Start what replaces the application in safe mode; False when there is nothing."""
        return self._hook(SAFE_MODE, self.limits.start_s)

    def has_health_check(self) -> bool:
        return self._has(HEALTH_CHECK) or self._compose() is not None

    def is_healthy(self) -> bool:
        """Ask once."""
        try:
            self._look(self.limits.one_health_s)
        except UpdateFailedError:
            return False
        return True

    def wait_until_healthy(self, *, left_s: float) -> None:
        """Ask again and again until it is healthy. Raises UpdateFailedError when it stays ill."""
        deadline = time.monotonic() + max(0.0, min(self.limits.health_s, left_s))
        while True:
            try:
                self._look(min(self.limits.one_health_s, max(1.0, deadline - time.monotonic())))
            except UpdateFailedError as failure:  # noqa: PERF203 - a program runs in each turn
                if time.monotonic() + self.limits.health_pause_s >= deadline:
                    raise UpdateFailedError(HEALTH, "unhealthy", str(failure)) from None
                self.pause(self.limits.health_pause_s)
            else:
                return

    def end_leftovers(self) -> None:
        """Kill hooks that an agent which is gone has left running."""
        hooks = str(self.folder / "hooks") + "/"
        for process in psutil.process_iter(["pid", "cmdline"]):
            words = process.info["cmdline"] or []
            # What a hook has left running on purpose has not the number of its session.
            with contextlib.suppress(psutil.Error, OSError):
                is_hook = any(word.startswith(hooks) for word in words[:3])
                if is_hook and os.getsid(process.pid) == process.pid:
                    os.killpg(process.pid, signal.SIGKILL)

    def _look(self, limit_s: float) -> None:
        if not self._hook(HEALTH_CHECK, limit_s):
            self._by_compose(HEALTH_CHECK, limit_s, "up", "--detach", "--no-recreate", "--wait")

    def _has(self, name: str) -> bool:
        return (self.folder / "hooks" / name).is_file()

    def _hook(self, name: str, limit_s: float) -> bool:
        """Run a hook; False when the release has none of this name."""
        if not self._has(name):
            return False
        self._run(name, [str(self.folder / "hooks" / name)], limit_s)
        return True

    def _by_compose(self, step: str, limit_s: float, *arguments: str) -> None:
        command = self._compose(*arguments)
        if command:
            self._run(step, command, limit_s)

    def _needs_docker(self) -> bool:
        """Tell whether nothing could start it here: the claim of having done so would be a lie."""
        is_ready = self._has(START) or processes.is_present("docker")
        return self._compose_file() is not None and not is_ready

    def _compose_file(self) -> Optional[str]:
        return next((name for name in COMPOSE_FILES if (self.folder / name).is_file()), None)

    def _compose(self, *arguments: str) -> Optional[list[str]]:
        name = self._compose_file()
        if name is None or not processes.is_present("docker"):
            return None
        path = str(self.folder / name)
        return ["docker", "compose", "--project-name", PROJECT, "--file", path, *arguments]

    def _run(self, step: str, command: list[str], limit_s: float) -> None:
        try:
            done = processes.run(
                command,
                timeout_s=max(1.0, limit_s),
                max_output_bytes=OUTPUT_BYTES,
                check=self.check,
                cwd=self.folder,
                variables={
                    "FLEET_RELEASE_ID": self.release_id,
                    "FLEET_RELEASE_VERSION": self.version,
                    "FLEET_RELEASE_DIR": str(self.folder),
                },
            )
        except OSError as error:
            raise UpdateFailedError(
                INSTALL, f"{step}_not_started", f"{step} cannot be started: {error}"
            ) from None
        if done.succeeded:
            return
        kind = TIMEOUT if done.exit_status is None else INSTALL
        told = remove_secrets(done.output)[-TOLD_CHARS:].strip()
        raise UpdateFailedError(kind, f"{step}_failed", f"{step}: {done.told()}\n{told}".strip())

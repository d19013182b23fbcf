"""The portal's processes, from the first check to the last one's end."""

import http
import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fleetsite.embedded import Servers
from fleetsite.embedded.process import last_lines
from fleetsite.supervisor import preflight
from fleetsite.supervisor.children import (
    MARK,
    Child,
    Program,
    end_orphans,
    end_programs,
    rotate,
)
from fleetsite.supervisor.errors import UpError
from fleetsite.supervisor.first_sign_in import FirstSignIn
from fleetsite.supervisor.machine import Machine
from fleetsite.supervisor.options import PROJECT, Options
from fleetsite.supervisor.preflight import Instance
from fleetsite.supervisor.prepare import REFUSED

POLL_S = 0.2
HEALTH_POLL_S = 0.05
HEALTH_PATIENCE = 60.0
END_PATIENCE = 6.0
LOG_CHECK_EVERY_S = 60.0
GATEWAY_RESTARTS = 3


class Portal:
    """Everything `up` starts, in the order of `start`, and the loop that keeps it running."""

    def __init__(self, options: Options, *, instance: Instance) -> None:
        self.options = options
        self.instance = instance
        self.machine = Machine(options)
        self.logs = options.var_dir / "logs"
        self.run_dir = options.var_dir / "run"
        self.first_sign_in = FirstSignIn(options)
        self.servers: Servers | None = None
        self.programs: list[Child] = []
        self.watched: list[Child] = []
        self.environ: dict[str, str] = {}

    def start(self) -> None:
        """Start everything. Raises UpError or EmbeddedError when that is not possible."""
        options = self.options
        end_orphans(options.var_dir)
        preflight.check_disk(options.var_dir)
        preflight.check_port(options.host, options.port)
        for log in self.logs.glob("*.log"):
            rotate(log)
        self._start_servers()
        prepared = self._prepare()
        self._start_gateway()
        self._greet(prepared)
        self._start_program(
            "worker", self._celery("worker", "--concurrency", "2", "--without-mingle")
        )
        # Bundles come from strangers: whoever reads them does nothing else.
        self._start_program(
            "bundle-worker",
            self._celery(
                *("worker", "-Q", "bundles", "--concurrency", "1", "--without-mingle"),
                *("-n", "bundles@%h"),
            ),
        )
        schedule = options.var_dir / "run" / "beat-schedule"
        self._start_program("beat", self._celery("beat", "--pidfile=", "-s", str(schedule)))
        if options.enroll_this_machine:
            self._start_agent(prepared["enrollment_token"])
        say("Ctrl-C stops everything.")

    def watch(self) -> None:
        """Start again whatever ends; returns only by an exception."""
        next_log_check = time.monotonic() + LOG_CHECK_EVERY_S
        while True:
            self._tend()
            time.sleep(POLL_S)
            if time.monotonic() > next_log_check:
                next_log_check += LOG_CHECK_EVERY_S
                for log in self.logs.glob("*.log"):
                    rotate(log)

    def stop(self) -> None:
        """End the programs, then the servers they use."""
        end_programs(list(reversed(self.programs)), patience=END_PATIENCE)
        if self.servers is not None:
            self.servers.stop()
        for child in self.watched:
            child.forget()

    def _tend(self) -> None:
        for child in self.watched:
            said = child.tend()
            if said:
                warn(said)

    def _start_servers(self) -> None:
        options = self.options
        servers = Servers(
            directory=options.var_dir,
            postgres=options.database_url is None,
            valkey=options.redis_url is None,
        )
        self.servers = servers
        servers.start()
        for server in servers.parts:
            child = Child(server, run_dir=self.run_dir)
            child.adopt()
            self.watched.append(child)
            self._report(child, server.log)
        inherited = {key: value for key, value in os.environ.items() if value}
        self.environ = {
            **{
                key: value
                for key, value in servers.keys().items()
                if f"{key}_FILE" not in inherited
            },
            "FLEET_URL": options.public_url,
            **inherited,
            **options.urls(),
            **servers.urls(),
            "VAR_DIR": str(options.var_dir),
            "DJANGO_SETTINGS_MODULE": "fleetsite.settings",
            "PYTHONUNBUFFERED": "1",
            MARK: str(options.var_dir),
        }
        self.environ.pop("FLEET_ADMIN_PASSWORD", None)

    def _prepare(self) -> dict[str, Any]:
        """Migrate, collect static files, make the first administrator, issue a token if needed."""
        command = [sys.executable, "-m", "fleetsite.supervisor.prepare"]
        if self.options.enroll_this_machine and not self.machine.is_enrolled():
            command.append("--enroll")
        password = self.first_sign_in.password()
        if self.first_sign_in.is_left_over:
            command.append("--check-password")
        done = subprocess.run(
            command, env=self.environ | {"FLEET_ADMIN_PASSWORD": password}, cwd=PROJECT,
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        if done.returncode != 0:
            raise UpError(self._why_not_prepared(done))
        prepared: dict[str, Any] = json.loads(done.stdout)
        if prepared["bootstrap"]["created"]:
            self.machine.forget()
        return prepared

    def _why_not_prepared(self, done: "subprocess.CompletedProcess[str]") -> str:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        if done.returncode == REFUSED:
            return last
        log = self.logs / "prepare.log"
        log.write_text(done.stderr, encoding="utf-8")
        if "No space left on device" in done.stderr:
            return preflight.disk_full(self.options.var_dir)
        return f"The database could not be prepared: {last} (details in {log})."

    def _start_gateway(self) -> None:
        """Start the web server and wait until it answers."""
        options = self.options
        command = [
            sys.executable, "-m", "uvicorn", "fleetsite.asgi:application",
            "--http", "fleetsite.asgi:GatewayProtocol",
            "--host", options.host, "--port", str(options.port),
            "--no-access-log", "--no-server-header", "--no-proxy-headers",
            "--log-level", "warning", "--timeout-graceful-shutdown", "3",
        ]  # fmt: skip
        child = self._start_program("gateway", command)
        deadline = time.monotonic() + HEALTH_PATIENCE
        while not self._is_healthy():
            self._tend()
            if child.restarts >= GATEWAY_RESTARTS or time.monotonic() > deadline:
                log = self.logs / "gateway.log"
                raise UpError(
                    f"The web server does not answer at {options.local_url}: "
                    f"{last_lines(log) or 'it said nothing'} (details in {log})."
                )
            time.sleep(HEALTH_POLL_S)

    def _is_healthy(self) -> bool:
        target = urlsplit(self.options.local_url)
        line = http.client.HTTPConnection(str(target.hostname), target.port, timeout=5)
        try:
            line.request("GET", "/health")
            return line.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            line.close()

    def _greet(self, prepared: dict[str, Any]) -> None:
        """Say where the portal is, and once how to sign in."""
        say(f"URL: {self.options.public_url}")
        if prepared["bootstrap"]["created"] or prepared["password_is_valid"]:
            say(f"E-mail: {prepared['bootstrap']['email']}")
            say(f"Password: {self.first_sign_in.password()}")
        self.first_sign_in.forget()

    def _start_agent(self, token: str | None) -> None:
        if token is not None:
            self.machine.prepare()
            problem = self.machine.enroll(token)
            if problem:
                warn(problem)
                return
        self.machine.settle()
        # Who stops the agent wants to see the device go offline.
        self._watch(self.machine.agent(), log=self.machine.log, pause_when_stopped=300.0)

    def _celery(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "celery", "-A", "fleetsite", *arguments, "-l", "warning"]

    def _start_program(self, name: str, command: list[str]) -> Child:
        log = self.logs / f"{name}.log"
        return self._watch(
            Program(name=name, command=command, environ=self.environ, log=log), log=log
        )

    def _watch(
        self, program: Program, *, log: Path, pause_when_stopped: float | None = None
    ) -> Child:
        child = Child(program, run_dir=self.run_dir, pause_when_stopped=pause_when_stopped)
        self.programs.append(child)
        self.watched.append(child)
        child.start()
        self._report(child, log)
        return child

    def _report(self, child: Child, log: Path) -> None:
        say(f"{child.name:<9} pid {child.pid}, log {log}")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def warn(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()

"""A whole portal in processes of its own, with a database of its own: as a machine runs it."""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import requests
from psycopg import sql

from fleetsite.embedded.process import die_with_parent
from tests import migrated
from tests.sources import PROJECT

Found = TypeVar("Found")
EMAIL = "owner@example.org"
PASSWORD = "a-long-password-of-a-story"
SAFE_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")


def eventually(look: Callable[[], Found], *, within: float, what: str) -> Found:
    """Return the first true answer; fail with `what` when none comes in time (seconds)."""
    deadline = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {within:.0f} s")
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RunningPortal:
    """Gateway, workers and beat; the directory holds their logs and files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = f"story_{secrets.token_hex(4)}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._admin_url = os.environ["DATABASE_URL"]
        self.environment = {
            **{name: os.environ[name] for name in SAFE_ENVIRONMENT if name in os.environ},
            "DATABASE_URL": re.sub(
                r"/[^/?@]+(\?|$)", rf"/{self.database}\1", self._admin_url, count=1
            ),
            "REDIS_URL": _other_redis_database(os.environ["REDIS_URL"]),
            "SECRET_KEY": secrets.token_hex(32),
            "JWT_KEY": secrets.token_hex(32),
            "VAR_DIR": str(directory),
            "FLEET_URL": self.url,
            "FLEET_ADMIN_EMAIL": EMAIL,
            "FLEET_ADMIN_PASSWORD": PASSWORD,
            "DJANGO_SETTINGS_MODULE": "fleetsite.settings",
            "PYTHONUNBUFFERED": "1",
        }

    def start(self) -> None:
        """Make the database and start what serves and sweeps."""
        self._sql(f"CREATE DATABASE {{}} TEMPLATE {migrated.template() or 'template1'}")
        self.manage("migrate", "--verbosity", "0")
        self.manage("portal_bootstrap")
        beat_files = ["--pidfile=", "-s", str(self.directory / "beat-schedule")]
        celery = ["-m", "celery", "-A", "fleetsite"]
        self._python(
            "gateway", "-m", "uvicorn", "fleetsite.asgi:application",
            "--http", "fleetsite.asgi:GatewayProtocol",
            "--host", "127.0.0.1", "--port", str(self.port), "--no-access-log",
        )  # fmt: skip
        worker = [*celery, "worker", "--concurrency", "1", "--without-mingle"]
        self._python("worker", *worker)
        self._python("bundles", *worker, "-Q", "bundles", "-n", "bundles@%h")
        self._python("beat", *celery, "beat", *beat_files)
        eventually(self._is_ready, within=40, what=f"The portal's start (logs in {self.directory})")

    def _is_ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/ready", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def manage(self, *arguments: str) -> str:
        """Run a management command; return what it printed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=PROJECT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2_000:]
        return done.stdout

    def _python(self, name: str, *arguments: str) -> None:
        self.run(name, [sys.executable, *arguments], self.environment, PROJECT)

    def run(self, name: str, command: list[str], environment: dict[str, str], cwd: Path) -> None:
        """Start a program that ends with the portal; its output goes to the log of this name.

        It ends with the tests as well, should they be killed.
        """
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
                cwd=cwd,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),  # nothing but one system call
            )

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text(encoding="utf-8")

    # --- the end ---

    def stop(self) -> None:
        """End every process with all it started, and drop the database."""
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(5)
        self._sql("DROP DATABASE IF EXISTS {} WITH (FORCE)")

    def _sql(self, statement: str) -> None:
        with psycopg.connect(self._admin_url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(self.database)))


class RunningAgent:
    """An agent in a directory of its own, beside the portal's files."""

    def __init__(self, portal: RunningPortal, device_id: str) -> None:
        self.portal = portal
        self.device_id = device_id
        self.directory = portal.directory / device_id
        self.config = self.directory / "fleet.conf"

    def enroll(self, token: str, *settings: str) -> None:
        """Make it known to the portal; the token goes in by the environment."""
        self.directory.mkdir()
        words = ["--url", self.portal.url, "--device-id", self.device_id, "--name", self.device_id]
        done = subprocess.run(
            [*self._program("enroll"), *words],
            env=self._environment() | {"FLEET_ENROLLMENT_TOKEN": token},
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        with self.config.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in settings))

    def start(self) -> None:
        self.portal.run(
            self.device_id, self._program("run"), self._environment(), self.portal.directory
        )

    def kill(self) -> None:
        """End it as a power cut would."""
        process = self.portal.processes[self.device_id]
        process.kill()
        process.wait(10)

    def log(self) -> str:
        return self.portal.log(self.device_id)

    def _program(self, verb: str) -> list[str]:
        return [sys.executable, "-m", "fleet_agent", verb, "--config", str(self.config)]

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in SAFE_ENVIRONMENT if name in os.environ}
        return {**kept, "PYTHONPATH": str(PROJECT / "agent"), "PYTHONUNBUFFERED": "1"}


def _other_redis_database(url: str) -> str:
    """Return the URL with another database number, so that no other test's worker is met."""
    if "db=" in url:
        return re.sub(r"db=\d+", "db=9", url)
    return re.sub(r"(?<=\w)/\d*$", "", url) + "/9"


class Rest:
    """Speaks the API as the person who signed in."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/api/v1"
        self._session = requests.Session()

    def sign_in(self) -> None:
        pair = self.call("POST", "/auth/token", {"email": EMAIL, "password": PASSWORD})
        self._session.headers["Authorization"] = f"Bearer {pair['access']}"

    def call(self, method: str, path: str, body: Any = None, *, status: int | None = None) -> Any:
        """Send a request and return the answer's JSON."""
        response = self._session.request(method, f"{self._url}{path}", json=body, timeout=10)
        expected = [status] if status else [200, 201]
        assert response.status_code in expected, response.text
        return json.loads(response.content)

    def send(self, path: str, content: bytes, content_type: str) -> Any:
        """Post bytes and return the answer's JSON."""
        headers = {"Content-Type": content_type}
        url = f"{self._url}{path}"
        response = self._session.post(url, data=content, headers=headers, timeout=30)
        assert response.ok, response.text
        return json.loads(response.content)

    def text(self, path: str) -> bytes:
        response = self._session.get(f"{self._url}{path}", timeout=10)
        assert response.status_code == 200, response.text
        return response.content

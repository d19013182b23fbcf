"""The portal's processes on servers of their own, as production runs them, each one killable."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import requests

from fleetsite.embedded.servers import Server, Servers, keys_of

PROJECT = Path(__file__).resolve().parents[2]
EMAIL = "chaos@example.org"
START_PATIENCE_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Processes:
    """PostgreSQL, Valkey, web (gunicorn), gateway (uvicorn), worker and beat."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.servers = Servers(directory=directory / "var", durable=True)
        self.web_port, self.gateway_port = free_port(), free_port()
        self.password = secrets.token_urlsafe(18)
        self.environ: dict[str, str] = {}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def web_url(self) -> str:
        return f"http://127.0.0.1:{self.web_port}"

    @property
    def gateway_url(self) -> str:
        return f"http://127.0.0.1:{self.gateway_port}"

    @property
    def database_url(self) -> str:
        return self.servers.urls()["DATABASE_URL"]

    def start(self) -> None:
        """Start everything and wait until it answers."""
        self.servers.start()
        var = self.directory / "var"
        self.environ = {
            **os.environ,
            **self.servers.urls(),
            **keys_of(self.servers.secrets),
            "VAR_DIR": str(var),
            "FLEET_URL": self.web_url,
            "FLEET_ADMIN_EMAIL": EMAIL,
            "FLEET_ADMIN_PASSWORD": self.password,
            "DJANGO_SETTINGS_MODULE": "fleetsite.settings",
            "LOG_LEVEL": "WARNING",
        }
        (var / "static").mkdir(exist_ok=True)
        for task in (["migrate", "--verbosity", "0"], ["portal_bootstrap"]):
            subprocess.run(
                [sys.executable, "manage.py", *task],
                cwd=PROJECT,
                env=self.environ,
                check=True,
                stdout=subprocess.DEVNULL,
            )
        for name in ("web", "gateway", "worker", "beat"):
            self.launch(name)
        self.wait_ready()

    def launch(self, name: str) -> None:
        """Start one process, again if it was killed."""
        log = (self.directory / f"{name}.log").open("ab")
        with log:
            self.running[name] = subprocess.Popen(
                self._command(name),
                cwd=PROJECT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _command(self, name: str) -> list[str]:
        celery = [sys.executable, "-m", "celery", "-A", "fleetsite"]
        return {
            "web": [
                *[sys.executable, "-m", "gunicorn", "fleetsite.wsgi:application"],
                *[f"--bind=127.0.0.1:{self.web_port}", "--worker-class=gthread"],
                *["--workers=2", "--threads=8", "--timeout=30", "--log-level=warning"],
            ],
            "gateway": [
                *[sys.executable, "-m", "uvicorn", "fleetsite.asgi:application"],
                *["--http", "fleetsite.asgi:GatewayProtocol", "--port", str(self.gateway_port)],
                *["--no-access-log", "--log-level", "warning"],
            ],
            "worker": [*celery, "worker", "--concurrency", "2", "--without-mingle", "-l", "error"],
            "beat": [
                *[*celery, "beat", "--pidfile=", "-l", "error"],
                *["-s", str(self.directory / "beat-schedule")],
            ],
        }[name]

    def wait_ready(self) -> None:
        for url in (self.web_url, self.gateway_url):
            deadline = time.monotonic() + START_PATIENCE_S
            while not _answers(url):
                if time.monotonic() > deadline:
                    raise SystemExit(f"{url} does not answer; logs in {self.directory}.")
                time.sleep(0.1)

    def kill(self, name: str) -> None:
        """Kill -9 a process with all it started, and start it again at once."""
        os.killpg(self.running[name].pid, signal.SIGKILL)
        self.running[name].wait()
        self.launch(name)

    def kill_web_worker(self, choice: int) -> None:
        """Kill -9 one of gunicorn's workers; its master starts another."""
        workers = psutil.Process(self.running["web"].pid).children()
        if workers:
            workers[choice % len(workers)].kill()

    def kill_postgres(self) -> None:
        """Kill -9 every process of PostgreSQL and start it again."""
        postgres = self._server("postgres")
        for process in postgres.processes():
            process.send_signal(signal.SIGKILL)
        postgres.start()

    def kill_valkey(self) -> None:
        valkey = self._server("valkey")
        for process in valkey.processes():
            process.send_signal(signal.SIGKILL)
        valkey.start()

    def freeze_valkey(self, *, stop: bool) -> None:
        for process in self._server("valkey").processes():
            process.send_signal(signal.SIGSTOP if stop else signal.SIGCONT)

    def _server(self, name: str) -> Server:
        (found,) = [part for part in self.servers.parts if part.name == name]
        return found

    def stop(self) -> None:
        for process in self.running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(8)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.servers.stop()


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=2).status_code == 200
    except requests.RequestException:
        return False

"""The servers that are measured: each one process on a port of its own, on the same PostgreSQL."""

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

FASTAPI, DRF, EMPTY = "FastAPI peer", "DRF and ORM", "empty server"
PROJECT = Path(__file__).resolve().parents[2]
START_PATIENCE_S = 30.0
_UVICORN = [sys.executable, "-m", "uvicorn", "--no-access-log", "--log-level", "warning"]
_PORTAL = ["fleetsite.asgi:application", "--http", "fleetsite.asgi:GatewayProtocol"]


@dataclass
class Contender:
    """One server: how it is started and how it wants its callers to prove themselves."""

    name: str
    command: list[str]
    environ: dict[str, str]
    api_key: bool = False
    port: int = field(default_factory=lambda: free_port())
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start and wait until the port answers."""
        command = [part.replace("{port}", str(self.port)) for part in self.command]
        self.process = subprocess.Popen(
            command, cwd=PROJECT, env={**os.environ, **self.environ}, stdin=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_PATIENCE_S
        while not self.answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit(f"{self.name} did not start.")
            time.sleep(0.1)

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def contenders(environ: dict[str, str]) -> list[Contender]:
    """Return the portal, its peers and the server that does nothing, in this order."""
    parts = urlsplit(environ["DATABASE_URL"])
    peer_url = urlunsplit(parts._replace(scheme="postgresql+asyncpg"))
    return [
        Contender(
            name="fleet portal",
            command=[*_UVICORN, *_PORTAL, "--port", "{port}"],
            environ={**environ, "LOG_LEVEL": "WARNING"},
        ),
        Contender(
            name=FASTAPI,
            command=[*_UVICORN, "bench.heartbeat.peer_fastapi:app", "--port", "{port}"],
            environ={"PEER_DATABASE_URL": peer_url},
            api_key=True,
        ),
        Contender(
            name=DRF,
            command=[
                *[sys.executable, "-m", "gunicorn", "bench.heartbeat.peer_drf:application"],
                *["--worker-class", "gthread", "--workers", "2", "--threads", "8"],
                *["--keep-alive", "75", "--log-level", "warning", "--bind", "127.0.0.1:{port}"],
            ],
            environ={
                **environ,
                "LOG_LEVEL": "ERROR",
                "DJANGO_SETTINGS_MODULE": "fleetsite.settings",
            },
        ),
        Contender(
            name=EMPTY,
            command=[*_UVICORN, "bench.heartbeat.empty_server:application", "--port", "{port}"],
            environ={},
        ),
    ]

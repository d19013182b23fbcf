"""One gateway process on PostgreSQL servers of its own, for measurements."""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.heartbeat.contenders import PROJECT, Contender, contenders
from bench.heartbeat.fleet import seed
from fleetsite.embedded.servers import Servers, keys_of


@dataclass(frozen=True)
class Portal:
    """The gateway that is measured, and what a program needs to use its database."""

    gateway: Contender
    environ: dict[str, str]

    @property
    def port(self) -> int:
        return self.gateway.port


@contextmanager
def portal(devices: int) -> Iterator[Portal]:
    """Run a gateway on a migrated database with so many devices in it."""
    raise_open_files()
    with tempfile.TemporaryDirectory(prefix="fleet-bench-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        var = Path(directory) / "var"
        servers = Servers(directory=var, durable=True)
        servers.start()
        try:
            environ = {**servers.urls(), **keys_of(servers.secrets), "VAR_DIR": str(var)}
            # WhiteNoise complains about a missing directory; nothing is served from it here.
            (var / "static").mkdir(exist_ok=True)
            subprocess.run(
                [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
                cwd=PROJECT,
                env={**os.environ, **environ},
                check=True,
            )
            seed(environ["DATABASE_URL"], devices)
            gateway = contenders(environ)[0]
            gateway.start()
            try:
                yield Portal(gateway, environ)
            finally:
                gateway.stop()
        finally:
            servers.stop()


def raise_open_files() -> int:
    """Allow this process and those it starts as many open files as the system lets it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def use_database(environ: dict[str, str]) -> None:
    """Set Django up in this process, on the portal's database."""
    os.environ.update(environ, DJANGO_SETTINGS_MODULE="fleetsite.settings", LOG_LEVEL="WARNING")
    import django

    django.setup()


def quantile(values: list[float], share: float) -> float:
    """Return the value below which this share of the values lies; 0 when there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()

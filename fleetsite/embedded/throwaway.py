"""Servers for one run of the tests or of one command, gone afterwards."""

import atexit
import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from fleetsite.embedded.errors import EmbeddedError
from fleetsite.embedded.servers import Servers


def start_for_tests(
    directory: str | Path, *, postgres: bool = True, valkey: bool = True
) -> tuple[dict[str, str], Callable[[], None]]:
    """Start fresh servers below `directory`; return their environment and what ends them.

    Every call gets a cluster of its own, so that two runs in one checkout never meet. Durability
    is off. What a killed run left below `directory` is ended and removed first.
    """
    base = Path(directory)
    base.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(base)
    place = base / f"{os.getpid()}-{secrets.token_hex(3)}"
    place.mkdir(mode=0o700)
    claim = _claim(place)
    servers = Servers(directory=place, postgres=postgres, valkey=valkey, durable=False)

    def stop() -> None:
        atexit.unregister(stop)
        servers.stop()
        _remove(place)
        os.close(claim)

    servers.start()
    atexit.register(stop)
    return {**servers.urls(), **servers.keys()}, stop


def _claim(place: Path) -> int:
    """Hold the run's lock for as long as this process lives."""
    handle = os.open(place / "alive.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle


def _remove_abandoned(base: Path) -> None:
    for place in base.iterdir():
        lock = place / "alive.lock"
        if not lock.exists():
            continue
        try:
            os.close(_claim(place))
        except OSError:
            continue  # a run that is still alive
        _remove(place)


def _remove(place: Path) -> None:
    """End the servers of `place` and remove all they kept, also what lies outside."""
    if (place / "servers").exists():
        with contextlib.suppress(EmbeddedError):  # half made: there is nothing to end
            servers = Servers(directory=place)
            servers.stop()
            for server in servers.parts:
                shutil.rmtree(server.sockets, ignore_errors=True)
                shutil.rmtree(server.home.root, ignore_errors=True)
    shutil.rmtree(place, ignore_errors=True)

"""What has to be true before anything is started."""

import errno
import fcntl
import json
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from fleetsite.supervisor.errors import UpError
from fleetsite.supervisor.options import Options

LEAST_FREE_MB = 500
MEGABYTE = 1024 * 1024
PORTS_TO_TRY = 100


def make_var_dir(var_dir: Path) -> None:
    """Make the data directory. Raises UpError when it cannot be written."""
    try:
        var_dir.mkdir(parents=True, exist_ok=True)
        for name in ("run", "logs", "agent"):
            (var_dir / name).mkdir(mode=0o700, exist_ok=True)
        probe = var_dir / "run" / f".probe-{os.getpid()}"
        probe.write_text("x", encoding="utf-8")
        probe.unlink()
    except OSError as problem:
        if problem.errno == errno.ENOSPC:
            raise UpError(disk_full(var_dir)) from None
        raise UpError(
            f"{var_dir} cannot be written ({problem.strerror}); choose another data directory "
            "with VAR_DIR=<path>."
        ) from None


def check_disk(var_dir: Path) -> None:
    """Raises UpError when too little is free for a start to end well."""
    for place in {var_dir, (var_dir / "servers").resolve()}:
        if place.exists() and shutil.disk_usage(place).free < LEAST_FREE_MB * MEGABYTE:
            raise UpError(disk_full(place))


def disk_full(place: Path) -> str:
    free = shutil.disk_usage(place if place.exists() else place.parent).free // MEGABYTE
    return (
        f"The disk of {place} has {free} MB free and the portal needs {LEAST_FREE_MB} MB; make "
        "room, or choose another data directory with VAR_DIR=<path>."
    )


@dataclass(frozen=True)
class Instance:
    """The lock that makes this process the only `up` on its VAR_DIR, held until it ends."""

    handle: int


def claim(options: Options) -> Instance:
    """Raises UpError naming the process that already runs on this VAR_DIR."""
    path = options.var_dir / "run" / "up.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UpError(_held_by(path)) from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps({"pid": os.getpid(), "url": options.public_url}).encode(), 0)
    return Instance(handle)


def _held_by(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        pid, url = int(holder["pid"]), str(holder["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"The portal is already running on {path.parent.parent}."
    return (
        f"The portal is already running as process {pid} at {url}; stop it first, or start a "
        "second one with another VAR_DIR and PORT."
    )


def check_port(host: str, port: int) -> None:
    """Raises UpError when the address cannot be listened on."""
    problem = _refusal(host, port)
    if problem is None:
        return
    if problem.errno == errno.EADDRINUSE:
        near = range(port + 1, min(port + PORTS_TO_TRY, 65_536))
        free = next((other for other in near if _refusal(host, other) is None), "<number>")
        raise UpError(
            f"Port {port} on {host} is taken by another program; choose another one, "
            f"for example PORT={free} make up."
        )
    raise UpError(
        f"Port {port} on {host} cannot be used ({problem.strerror}); choose others with "
        "HOST=<address> PORT=<number>."
    )


def _refusal(host: str, port: int) -> OSError | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the web server does: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as problem:
            return problem
    return None

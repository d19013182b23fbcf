"""Parts of a support bundle that not every machine has: containers and recordings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Optional, Protocol

from fleet_agent import processes
from fleet_agent.metrics import DOCKER_SOCKET

DOCKER_TIMEOUT_S = 15.0
MAX_CONTAINERS = 50
MAX_INSPECT_BYTES = 2 * 1024 * 1024
MAX_RECORDINGS = 20
MAX_RECORDING_BYTES = 16 * 1024 * 1024
# What an inspection may tell: nothing of Config.Env, Args or labels, where secrets stand.
KEPT = ("Id", "Name", "Created", "State", "RestartCount", "Image", "Platform", "SizeRw")
# Without the command: a password may stand in an argument.
COLUMNS = "table {{.ID}}\t{{.Names}}\t{{.Image}}\t{{.Status}}\t{{.RunningFor}}\t{{.Ports}}"
KEPT_OF_HOST = ("RestartPolicy", "Memory", "NanoCpus", "NetworkMode", "Privileged")


class Collecting(Protocol):
    """What this module needs of `support_bundle.Collection`."""

    notes: list[str]

    def add(self, name: str, text: str) -> None: ...
    def add_bytes(self, name: str, data: bytes) -> None: ...
    def add_program(self, name: str, arguments: list[str]) -> None: ...


def add_containers(collection: Collecting) -> None:
    """Add the containers and their state, without environment and arguments."""
    if not DOCKER_SOCKET.exists():
        collection.notes.append("containers: there is no docker socket")
        return
    collection.add_program("containers/ps.txt", ["docker", "ps", "--all", "--format", COLUMNS])
    shown = _docker(["docker", "ps", "--all", "--quiet"])
    names = (shown or "").split()[:MAX_CONTAINERS]
    if not names:
        return
    inspected = _docker(["docker", "inspect", *names])
    try:
        containers = json.loads(inspected or "")
    except ValueError:
        collection.notes.append("containers/inspect.json: `docker inspect` gave nothing readable")
        return
    kept = [_without_secrets(item) for item in containers if isinstance(item, dict)]
    collection.add("containers/inspect.json", json.dumps(kept, indent=2))


def add_recordings(collection: Collecting, directory: Optional[str]) -> None:
    """Add the newest files of the directory the owner has named for that."""
    if directory is None:
        collection.notes.append("recordings: fleet.conf names no RECORDINGS_DIR")
        return
    try:
        files = [path for path in Path(directory).iterdir() if _is_own_file(path)]
        newest = sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError as error:
        collection.notes.append(f"recordings: {error}")
        return
    for path in newest[:MAX_RECORDINGS]:
        try:
            if path.stat().st_size > MAX_RECORDING_BYTES:
                collection.notes.append(f"recordings/{path.name}: larger than the limit")
                continue
            collection.add_bytes(f"recordings/{path.name}", path.read_bytes())
        except OSError as error:
            collection.notes.append(f"recordings/{path.name}: {error}")


def _is_own_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _docker(arguments: list[str]) -> Optional[str]:
    try:
        done = processes.run(
            arguments, timeout_s=DOCKER_TIMEOUT_S, max_output_bytes=MAX_INSPECT_BYTES
        )
    except OSError:
        return None
    return done.output if done.succeeded else None


def _without_secrets(container: dict[str, Any]) -> dict[str, Any]:
    kept = {name: container.get(name) for name in KEPT}
    host = container.get("HostConfig")
    if isinstance(host, dict):
        kept["HostConfig"] = {name: host.get(name) for name in KEPT_OF_HOST}
    config = container.get("Config")
    if isinstance(config, dict):
        kept["Config"] = {"Image": config.get("Image")}
    return kept

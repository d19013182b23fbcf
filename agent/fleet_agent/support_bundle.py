"""The content of a support bundle: logs, configuration without secrets, state of the system."""

from __future__ import annotations

import io
import json
import re
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fleet_agent import __version__, conffile, processes
from fleet_agent.bundle_parts import add_containers, add_recordings
from fleet_agent.clock import rfc3339_now
from fleet_agent.keys import KEYS
from fleet_agent.redaction import MARK, remove_secrets
from fleet_agent.settings import ConfigStore

MAX_BUNDLE_BYTES = 50 * 1000 * 1000
MAX_FILE_BYTES = 4 * 1024 * 1024
# The manifest and the end of the archive must still fit.
RESERVE_BYTES = 1024 * 1024
PROGRAM_TIMEOUT_S = 15.0
MAX_LOG_LINES = "5000"
MAX_UNITS = 10
OWN_UNIT = "fleet-agent"
_SECRET_NAME = re.compile(r"(?i)token|secret|passw|credential|private|(^|_)(key|psk|pin)($|_)")

SYSTEM_FILES = ("/etc/os-release", "/proc/cpuinfo", "/proc/meminfo", "/proc/mounts")
SYSTEM_PROGRAMS: dict[str, list[str]] = {
    "uname": ["uname", "-a"],
    "uptime": ["uptime"],
    "df": ["df", "-hT"],
    "df-inodes": ["df", "-i"],
    "free": ["free", "-m"],
    "addresses": ["ip", "addr"],
    "routes": ["ip", "route"],
    # Names without arguments: a password may stand in an argument.
    "processes": ["ps", "-eo", "pid,ppid,user,stat,pcpu,pmem,rss,etime,comm", "--sort=-rss"],
    "failed-units": ["systemctl", "--failed", "--no-pager"],
}


class Collection:
    """A growing archive that never passes its size and notes what it could not take."""

    def __init__(
        self,
        archive: tarfile.TarFile,
        raw: io.BufferedWriter,
        folder: str,
        check: Callable[[], None],
    ) -> None:
        self._archive = archive
        self._raw = raw
        self._folder = folder
        self._check = check
        self.files: list[dict[str, Any]] = []
        self.notes: list[str] = []

    def add(self, name: str, text: str) -> None:
        """Add a text without its secrets; of a long one the end."""
        data = remove_secrets(text).encode("utf-8", "replace")
        if len(data) > MAX_FILE_BYTES:
            self.notes.append(f"{name}: only the last {MAX_FILE_BYTES} of {len(data)} bytes")
            data = data[-MAX_FILE_BYTES:]
        self.add_bytes(name, data)

    def add_bytes(self, name: str, data: bytes) -> None:
        """Add a file as it is, unless the bundle would grow too large."""
        self._check()
        if self._raw.tell() + len(data) + RESERVE_BYTES > MAX_BUNDLE_BYTES:
            self.notes.append(
                f"{name}: left out, the bundle would grow past {MAX_BUNDLE_BYTES} bytes"
            )
            return
        self.files.append({"name": name, "bytes": len(data)})
        self._write(name, data)

    def add_program(self, name: str, arguments: list[str]) -> None:
        if not processes.is_present(arguments[0]):
            self.notes.append(f"{name}: `{arguments[0]}` is not installed")
            return
        try:
            done = processes.run(
                arguments,
                timeout_s=PROGRAM_TIMEOUT_S,
                max_output_bytes=MAX_FILE_BYTES,
                check=self._check,
            )
        except OSError as error:
            self.notes.append(f"{name}: {error}")
            return
        if not done.succeeded:
            self.notes.append(f"{name}: {done.told()}")
        if done.output:
            self.add(name, done.output)

    def add_file(self, name: str, path: Path) -> None:
        try:
            with path.open("rb") as stream:
                self.add(name, stream.read(MAX_FILE_BYTES).decode("utf-8", "replace"))
        except OSError as error:
            self.notes.append(f"{name}: {error}")

    def close(self, about: dict[str, Any]) -> None:
        manifest = {**about, "files": self.files, "notes": self.notes}
        self._write("manifest.json", json.dumps(manifest, indent=2).encode())

    def _write(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(f"{self._folder}/{name}")
        member.size = len(data)
        member.mode = 0o600
        member.mtime = int(time.time())
        self._archive.addfile(member, io.BytesIO(data))


def write_bundle(
    path: Path,
    *,
    options: dict[str, Any],
    store: ConfigStore,
    recent_log: str,
    check: Callable[[], None] = lambda: None,
) -> list[str]:
    """Write the bundle as a .tar.gz and return the notes of its manifest.

    `check` is called again and again; what it raises ends the work. Raises OSError.
    """
    device_id = store.settings.device_id or "device"
    path.touch(mode=0o600)
    with path.open("wb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as archive:
        collection = Collection(archive, raw, f"fleet-bundle-{device_id}", check)
        if options.get("include_state", True):
            _add_system(collection)
        if options.get("include_containers"):
            add_containers(collection)
        if options.get("include_logs"):
            _add_logs(collection, store.settings.allowed_services, recent_log)
        if options.get("include_config"):
            collection.add("config/fleet.conf", without_secrets(store.text()))
        if options.get("include_recordings"):
            add_recordings(collection, store.settings.recordings_dir)
        collection.close(
            {
                "device_id": device_id,
                "agent_version": __version__,
                "made_at": rfc3339_now(),
                "options": options,
            }
        )
    return collection.notes


def without_secrets(text: str) -> str:
    """Return a fleet.conf in which values of secret keys, known or by their name, are removed."""
    secret = [
        name
        for name in conffile.parse(text)
        if (KEYS[name].is_secret if name in KEYS else _SECRET_NAME.search(name))
    ]
    return conffile.rewrite(text, dict.fromkeys(secret, MARK))


def _add_system(collection: Collection) -> None:
    for name in SYSTEM_FILES:
        collection.add_file(f"system/{name.rpartition('/')[2]}.txt", Path(name))
    for name, arguments in SYSTEM_PROGRAMS.items():
        collection.add_program(f"system/{name}.txt", arguments)


def _add_logs(collection: Collection, services: tuple[str, ...], recent_log: str) -> None:
    collection.add("logs/agent.txt", recent_log)
    collection.add_program("logs/kernel.txt", ["dmesg"])
    journal = ["journalctl", "--no-pager", "--lines", MAX_LOG_LINES]
    collection.add_program(
        "logs/system-warnings.txt", [*journal, "--boot", "--priority", "warning"]
    )
    units = [OWN_UNIT, *(name for name in services if name != "*")][:MAX_UNITS]
    for unit in units:
        collection.add_program(f"logs/unit-{unit}.txt", [*journal, "--unit", unit])

"""The settings of a running agent, and the one place that changes fleet.conf."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from fleet_agent import conffile
from fleet_agent.drift import AcceptedState
from fleet_agent.durable import directory_lock, write_atomically
from fleet_agent.errors import ConfigError
from fleet_agent.keys import KEYS, read_value
from fleet_agent.redaction import SECRETS

DEFAULT_CONFIG = Path("/etc/fleet-agent/fleet.conf")
DEFAULT_STATE_DIR = Path("/var/lib/fleet-agent")


@dataclass(frozen=True)
class Settings:
    """What fleet.conf says, checked. The meaning of each field stands in `keys.KEYS`."""

    fleet_enabled: bool
    fleet_url: Optional[str]
    device_id: Optional[str]
    device_token: Optional[str]
    device_token_pending: Optional[str]
    heartbeat_interval: int
    command_poll_interval: int
    state_dir: Optional[str]
    allowed_services: tuple[str, ...]
    allow_reboot: bool
    allow_scripts: bool
    allow_updates: bool
    update_trust: str
    releases_dir: Optional[str]
    keep_releases: int
    update_interval: int
    chaos: bool
    drift_interval: int
    drift_paths: tuple[str, ...]
    recordings_dir: Optional[str]
    queue_max_mb: int
    log_level: str
    ca_file: Optional[str]
    version_file: Optional[str]

    @property
    def is_enrolled(self) -> bool:
        return bool(self.fleet_url and self.device_id and self.device_token)

    @property
    def is_active(self) -> bool:
        """True when the agent is switched on and has somebody to talk to."""
        return self.fleet_enabled and self.is_enrolled

    def shown(self) -> dict[str, Any]:
        """Return every key with its value, of secrets only whether they are set."""
        shown: dict[str, Any] = {}
        for name, key in KEYS.items():
            value = getattr(self, name.lower())
            if key.is_secret:
                value = "set" if value else "not set"
            shown[name] = list(value) if isinstance(value, tuple) else value
        return shown


def settings_from_text(text: str) -> Settings:
    """Return the settings of a fleet.conf. Raises ConfigError that names every bad key."""
    values = conffile.parse(text)
    fields: dict[str, Any] = {}
    problems = []
    for name in KEYS:
        try:
            fields[name.lower()] = read_value(name, values.get(name) or "")
        except ValueError as error:  # noqa: PERF203 - a dozen keys
            problems.append(str(error))
    if problems:
        raise ConfigError("fleet.conf cannot be used. " + " ".join(problems))
    settings = Settings(**fields)
    SECRETS.add(settings.device_token)
    SECRETS.add(settings.device_token_pending)
    return settings


def config_path(given: Optional[str]) -> Path:
    """Return where fleet.conf is: the option, then FLEET_CONFIG, then the default."""
    return Path(given or os.environ.get("FLEET_CONFIG") or DEFAULT_CONFIG).absolute()


class ConfigStore:
    """fleet.conf on disk together with the settings read from it last."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises ConfigError when it is absent, unreadable or wrong."""
        self.path = path
        self.trouble: Optional[str] = None
        self._lock = threading.Lock()
        self._signature: Optional[tuple[int, int, int]] = None
        self._settings = self._load()

    @property
    def settings(self) -> Settings:
        return self._settings

    @property
    def state_dir(self) -> Path:
        """Where the agent keeps its files: STATE_DIR, the system's place, or beside the file."""
        if self._settings.state_dir:
            return Path(self._settings.state_dir)
        if self.path.parent == DEFAULT_CONFIG.parent:
            return DEFAULT_STATE_DIR
        return self.path.parent / "state"

    @property
    def releases_dir(self) -> Path:
        """Where releases are unpacked."""
        return Path(self._settings.releases_dir or self.state_dir / "releases")

    @property
    def watched_paths(self) -> list[str]:
        """fleet.conf and the files its owner wants watched."""
        return [str(self.path), *self._settings.drift_paths]

    def refresh(self) -> bool:
        """Read the file again when it changed; return whether the settings differ now.

        A file that cannot be used leaves the settings as they were and is told in `trouble`.
        """
        with self._lock:
            try:
                if self._signature == self._stat():
                    return False
                before, self._settings = self._settings, self._load()
            except (ConfigError, OSError) as error:
                self.trouble = str(error)
                return False
            self.trouble = None
            return before != self._settings

    def change(self, changes: dict[str, Optional[str]]) -> None:
        """Set keys in one atomic rewrite; None takes a key out.

        Raises ConfigError when the new file would not be usable (the old one stays), OSError
        when it cannot be written.
        """
        with directory_lock(self.path.parent):
            before = _read(self.path)
            text = conffile.rewrite(before, changes)
            settings_from_text(text)
            write_atomically(self.path, text.encode())
            accepted = AcceptedState(self.state_dir)
            accepted.carry_over(self.path, before=before.encode(), after=text.encode())
        self.refresh()

    def text(self) -> str:
        return _read(self.path)

    def _load(self) -> Settings:
        signature = self._stat()
        settings = settings_from_text(_read(self.path))
        self._signature = signature
        return settings

    def _stat(self) -> tuple[int, int, int]:
        try:
            found = self.path.stat()
        except OSError as error:
            raise ConfigError(_unreadable(self.path, error)) from None
        return found.st_ino, found.st_size, found.st_mtime_ns


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(conffile.MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(_unreadable(path, error)) from None
    if len(data) > conffile.MAX_BYTES:
        raise ConfigError(f"{path} is larger than {conffile.MAX_BYTES} bytes.")
    return data.decode("utf-8", "replace")


def _unreadable(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return (
            f"{path} does not exist. Run `fleet-agent enroll --url ...` first, "
            "or name another file with --config."
        )
    return f"{path} cannot be read: {error.strerror}."

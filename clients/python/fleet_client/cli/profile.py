"""Where `fleet login` keeps what it was given: a file that only its owner reads."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Optional

import tomli_w

from fleet_client.credentials import Tokens
from fleet_client.errors import FleetError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class ProfileUnusable(FleetError):
    """The file of profiles cannot be read."""


def config_path() -> Path:
    """Return the place of the file: FLEET_CONFIG, else fleet/config.toml of the user's settings."""
    named = os.environ.get("FLEET_CONFIG")
    if named:
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "fleet" / "config.toml"


class ProfileFile:
    """Profiles by name: address, organisation, and an API key or a pair of tokens."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, name: str) -> Dict[str, Any]:
        """Return a profile; empty when there is none."""
        profile = self._read().get("profiles", {}).get(name, {})
        return dict(profile) if isinstance(profile, dict) else {}

    def put(self, name: str, profile: Dict[str, Any]) -> None:
        """Replace a profile."""
        with self.lock():
            self.put_locked(name, profile)

    def put_locked(self, name: str, profile: Dict[str, Any]) -> None:
        """Replace a profile while the lock is held."""
        everything = self._read()
        profiles = {**everything.get("profiles", {}), name: profile}
        self._write({**everything, "profiles": profiles})

    def remove(self, name: str) -> bool:
        """Forget a profile; say whether there was one."""
        with self.lock():
            everything = self._read()
            profiles = dict(everything.get("profiles", {}))
            found = profiles.pop(name, None) is not None
            if found:
                self._write({**everything, "profiles": profiles})
        return found

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes out while the file is read and written."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.path.with_name(self.path.name + ".lock")
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def _read(self) -> Dict[str, Any]:
        try:
            with self.path.open("rb") as stream:
                return tomllib.load(stream)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            # The parser's message may hold a line of the file.
            raise ProfileUnusable(
                f"{self.path} cannot be read ({type(error).__name__}). "
                "Mend or remove it, then sign in again with: fleet login"
            ) from None

    def _write(self, everything: Dict[str, Any]) -> None:
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            tomli_w.dump(everything, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, self.path)


class ProfileTokens:
    """A token store in a profile, shared by every `fleet` of the user."""

    def __init__(self, file: ProfileFile, name: str) -> None:
        self._file = file
        self._name = name

    def lock(self) -> Any:
        """Keep other processes out."""
        return self._file.lock()

    def load(self) -> Optional[Tokens]:
        """Return the newest pair."""
        profile = self._file.get(self._name)
        if not profile.get("access"):
            return None
        return Tokens(profile["access"], profile.get("refresh", ""), profile.get("expires_at"))

    def save(self, tokens: Tokens) -> None:
        """Keep the new pair."""
        profile = self._file.get(self._name)
        profile.update(access=tokens.access, refresh=tokens.refresh)
        if tokens.expires_at is not None:
            profile["expires_at"] = tokens.expires_at
        self._file.put_locked(self._name, profile)

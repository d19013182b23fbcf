"""What a manifest says of a release, as the device keeps it beside the unpacked files."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional
from uuid import UUID

# The portal's caps on bundles; a manifest beyond them is not believed.
MAX_BUNDLE_BYTES = 2 * 1024 * 1024 * 1024
MAX_FILES = 20_000
MAX_FILE_BYTES = 1024 * 1024 * 1024
MAX_UNPACKED_BYTES = 8 * 1024 * 1024 * 1024
MAX_PATH_CHARS = 255
MAX_TEXT_CHARS = 64
COMPOSE_FILES = ("compose.yml", "compose.yaml", "docker-compose.yml")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileFacts:
    """One file of a release. `mode` holds permission bits only, without set-user-id and such."""

    path: str
    sha256: str
    size: int
    mode: int


@dataclass(frozen=True)
class ReleaseFacts:
    """One release for one role."""

    release_id: str
    version: str
    commit: str
    counter: int
    role: str
    bundle_size: int
    bundle_sha256: str
    files: tuple[FileFacts, ...]

    @property
    def unpacked_bytes(self) -> int:
        return sum(facts.size for facts in self.files)

    @property
    def compose_path(self) -> Optional[str]:
        names = {facts.path for facts in self.files}
        return next((name for name in COMPOSE_FILES if name in names), None)

    def as_bytes(self) -> bytes:
        return json.dumps(asdict(self), separators=(",", ":")).encode()


def facts_from_manifest(manifest: Mapping[str, Any]) -> ReleaseFacts:
    """Return what the members of a manifest say. Raises ValueError when it is not usable."""
    bundle = _mapping(manifest.get("bundle"), "bundle")
    files = manifest.get("files")
    if not isinstance(files, (list, tuple)) or not 1 <= len(files) <= MAX_FILES:
        raise ValueError(f"files: a list of 1 to {MAX_FILES} files is wanted")
    facts = ReleaseFacts(
        release_id=release_id_of(manifest.get("release_id")),
        version=_text(manifest, "version"),
        commit=_text(manifest, "commit"),
        counter=_number(manifest.get("counter"), "counter", 2**53),
        role=str(manifest.get("role") or ""),
        bundle_size=_number(bundle.get("size"), "bundle.size", MAX_BUNDLE_BYTES),
        bundle_sha256=_sha256(bundle.get("sha256"), "bundle.sha256"),
        files=tuple(_file(_mapping(item, "files")) for item in files),
    )
    if len({item.path for item in facts.files}) != len(facts.files):
        raise ValueError("files: a path is named twice")
    if facts.unpacked_bytes > MAX_UNPACKED_BYTES:
        raise ValueError(f"files: more than {MAX_UNPACKED_BYTES} bytes together")
    return facts


def read_facts(path: Path) -> Optional[ReleaseFacts]:
    """Return the facts kept in a file; None when they are absent or not readable."""
    try:
        record = json.loads(path.read_bytes())
        files = tuple(FileFacts(**item) for item in record.pop("files"))
        return ReleaseFacts(files=files, **record)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def release_id_of(value: object) -> str:
    """Return the id of a release, which becomes the name of a folder. Raises ValueError."""
    return str(UUID(str(value)))


def safe_path(name: str) -> str:
    """Return a path inside a release without leading `./`. Raises ValueError when it leaves it."""
    plain = name[2:] if name.startswith("./") else name
    parts = plain.split("/")
    is_odd = any(part in ("", ".", "..") for part in parts)
    if is_odd or len(plain) > MAX_PATH_CHARS or not plain.isprintable() or "\\" in plain:
        raise ValueError(f"{name[:MAX_PATH_CHARS]!r} is no path inside a release")
    return plain


def _file(item: Mapping[str, Any]) -> FileFacts:
    path = str(item.get("path") or "")
    if safe_path(path) != path:
        raise ValueError(f"files: {path[:MAX_PATH_CHARS]!r} does not start at the root")
    return FileFacts(
        path=path,
        sha256=_sha256(item.get("sha256"), path),
        size=_number(item.get("size"), path, MAX_FILE_BYTES),
        mode=_mode(item.get("mode"), path),
    )


def _mode(value: object, name: str) -> int:
    # Octal digits in a text, or the number itself.
    if isinstance(value, str) and re.fullmatch(r"(0o)?[0-7]{3,6}", value):
        value = int(value, 8)
    return _number(value, f"{name}: mode", 0o177777) & (stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO)


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name}: an object is wanted")  # noqa: TRY004 - one kind of refusal
    return value


def _text(manifest: Mapping[str, Any], name: str) -> str:
    value = manifest.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT_CHARS:
        raise ValueError(f"{name}: a text of 1 to {MAX_TEXT_CHARS} characters is wanted")
    return value


def _number(value: object, name: str, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"{name}: a whole number from 0 to {most} is wanted")
    return value


def _sha256(value: object, name: str) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"{name}: a SHA-256 of 64 hexadecimal digits is wanted")
    return value

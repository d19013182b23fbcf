"""The manifest of a release: read from signed bytes, held against offer and installation."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Optional

from fleet_agent.updates.trust_errors import (
    EXPIRED,
    MALFORMED,
    NOT_ALLOWED,
    OTHER_ORGANIZATION,
    OTHER_RELEASE,
    ROLLBACK,
    TrustError,
)

FORMAT = 1
STAGED = "staged"
GENERAL = "general"
# What each value of UPDATE_TRUST lets in.
ALLOWED = {STAGED: (STAGED, GENERAL), GENERAL: (GENERAL,)}
MAX_FILES = 20_000
MAX_TEXT = 1024
SHA256 = re.compile(r"[0-9a-f]{64}")
COMMIT = re.compile(r"[0-9a-f]{7,64}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
PERMISSIONS = 0o777


@dataclass(frozen=True)
class FileRecord:
    """A file of the bundle: relative path, SHA-256 in hex, bytes, permission bits."""

    path: str
    sha256: str
    size: int
    mode: int


@dataclass(frozen=True)
class Manifest:
    """What the organisation's keys vouch for. `content` are the signed bytes."""

    organization: str
    release_id: str
    version: str
    commit: str
    counter: int
    role: str
    channel: str
    feature_flags: dict[str, Any]
    required_migration: str
    created_at: datetime
    expires: datetime
    bundle_size: int
    bundle_sha256: str
    compose_path: Optional[str]
    compose_sha256: Optional[str]
    files: tuple[FileRecord, ...]
    target_path: str
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class Offered:
    """What the portal's unsigned offer says; the manifest has to say the same."""

    version: str
    commit: str
    role: str
    bundle_size: Optional[int] = None
    bundle_sha256: Optional[str] = None


@dataclass(frozen=True)
class Installed:
    """What was on this device: the counter of the release that runs, 0 when there is none, and
    (version, commit) of every release that was installed before it.
    """

    counter: int = 0
    before: frozenset[tuple[str, str]] = frozenset()


def path_parts(target_path: str, trust: str) -> tuple[str, str, str]:
    """Return (path of trust, role, version) of a target path this device may ask for.

    Raises TrustError.
    """
    parts = target_path.split("/")
    if len(parts) != 4 or parts[3] != "manifest.json" or not all(_is_plain(one) for one in parts):
        raise TrustError(f"{target_path[:200]!r} is no path of a manifest.", code=MALFORMED)
    if parts[0] not in ALLOWED.get(trust, ()):
        raise TrustError(
            f"This device takes only what {' or '.join(ALLOWED.get(trust, ()))} vouches for, not"
            f" {parts[0]!r}. UPDATE_TRUST in fleet.conf says so.",
            code=NOT_ALLOWED,
        )
    return parts[0], parts[1], parts[2]


def read_manifest(content: bytes, target_path: str) -> Manifest:
    """Return the manifest. Raises TrustError when it is none."""
    try:
        return _read(json.loads(content), content, target_path)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TrustError(
            f"The manifest {target_path} cannot be read: {str(error)[:200]}. A newer agent may be"
            " needed.",
            code=MALFORMED,
        ) from None


def _read(record: dict[str, Any], content: bytes, target_path: str) -> Manifest:
    if record["format"] != FORMAT:
        raise ValueError(f"format {record['format']!r}, known is {FORMAT}")
    bundle, compose, files = record["bundle"], record["compose"], record["files"]
    if not isinstance(files, list) or len(files) > MAX_FILES:
        raise ValueError("files is no list, or too long")
    flags = record["feature_flags"]
    if not isinstance(flags, dict):
        raise TypeError("feature_flags is no object")
    return Manifest(
        organization=_text(record["organization"]),
        release_id=_text(record["release_id"]),
        version=_matching(VERSION, record["version"]),
        commit=_matching(COMMIT, record["commit"]),
        counter=_number(record["counter"]),
        role=_text(record["role"]),
        channel=_text(record["channel"]),
        feature_flags=flags,
        required_migration=_text(record["required_migration"]),
        created_at=_moment(record["created_at"]),
        expires=_moment(record["expires"]),
        bundle_size=_number(bundle["size"]),
        bundle_sha256=_matching(SHA256, bundle["sha256"]),
        compose_path=_path(compose["path"]) if compose else None,
        compose_sha256=_matching(SHA256, compose["sha256"]) if compose else None,
        files=tuple(_file(one) for one in files),
        target_path=target_path,
        content=content,
    )


def check_manifest(
    manifest: Manifest,
    *,
    organization: str,
    offered: Optional[Offered],
    installed: Installed,
    now: datetime,
) -> None:
    """Raises TrustError unless it is for this device, as offered, in time, and no step back."""
    _, role, version = path_parts(manifest.target_path, STAGED)
    if organization and manifest.organization != organization:
        raise TrustError(
            f"The manifest is for the organisation {manifest.organization!r}, this device belongs"
            f" to {organization!r}.",
            code=OTHER_ORGANIZATION,
        )
    if (manifest.role, manifest.version) != (role, version):
        raise TrustError(
            "The manifest is not for the role and version asked for.", code=OTHER_RELEASE
        )
    if offered is not None:
        _check_offer(manifest, offered)
    if manifest.expires <= now:
        raise TrustError(
            f"The manifest of {manifest.version} is not valid after {manifest.expires:%Y-%m-%d}."
            " Publish the release anew, or set this device's clock.",
            code=EXPIRED,
        )
    is_known = (manifest.version, manifest.commit) in installed.before
    if manifest.counter < installed.counter and not is_known:
        raise TrustError(
            f"{manifest.version} is older (number {manifest.counter}) than what runs here (number"
            f" {installed.counter}), and was never installed here.",
            code=ROLLBACK,
        )


def _check_offer(manifest: Manifest, offered: Offered) -> None:
    said = (offered.version, offered.commit, offered.role)
    bundle = (offered.bundle_size, offered.bundle_sha256)
    signed = (manifest.bundle_size, manifest.bundle_sha256)
    differs = any(a is not None and a != b for a, b in zip(bundle, signed))
    if said != (manifest.version, manifest.commit, manifest.role) or differs:
        raise TrustError(
            "The portal's offer differs from the signed manifest of"
            f" {manifest.version} ({manifest.commit[:12]}).",
            code=OTHER_RELEASE,
        )


def _is_plain(part: str) -> bool:
    return bool(part) and part not in (".", "..") and part.isprintable() and "\\" not in part


def _file(record: dict[str, Any]) -> FileRecord:
    return FileRecord(
        path=_path(record["path"]),
        sha256=_matching(SHA256, record["sha256"]),
        size=_number(record["size"]),
        mode=_mode(record["mode"]),
    )


def _path(value: object) -> str:
    text = _text(value)
    if not all(_is_plain(part) for part in text.split("/")):
        raise ValueError(f"{text[:100]!r} is no relative path")
    return text


def _mode(value: object) -> int:
    number = int(value, 8) if isinstance(value, str) else _number(value)
    return number & PERMISSIONS


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise ValueError("a text is missing or too long")
    return value


def _matching(pattern: re.Pattern[str], value: object) -> str:
    text = _text(value)
    if not pattern.fullmatch(text):
        raise ValueError(f"{text[:100]!r} has another shape")
    return text


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("a number is missing or negative")
    return value


def _moment(value: object) -> datetime:
    moment = datetime.fromisoformat(_text(value).replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.astimezone(timezone.utc)

"""The manifests of the releases on this device, and what the device asks of them itself."""

from __future__ import annotations

from pathlib import Path
from typing import Optional
from uuid import UUID

from fleet_agent.updates.errors import VERIFICATION, UpdateFailedError
from fleet_agent.updates.manifest import Manifest, read_manifest
from fleet_agent.updates.trust_errors import TrustError

# The portal's caps on bundles. Whoever signed more signed what no device of this kind can hold.
MAX_BUNDLE_BYTES = 2 * 1024 * 1024 * 1024
MAX_FILE_BYTES = 1024 * 1024 * 1024
MAX_UNPACKED_BYTES = 8 * 1024 * 1024 * 1024
MAX_PATH_CHARS = 255
COMPOSE_FILES = ("compose.yml", "compose.yaml", "docker-compose.yml")


def unpacked_bytes(manifest: Manifest) -> int:
    return sum(item.size for item in manifest.files)


def check_bounds(manifest: Manifest) -> None:
    """Raises UpdateFailedError when a manifest asks for more than a device unpacks."""
    paths = {item.path for item in manifest.files}
    is_odd = any(_is_odd(path) for path in paths) or len(paths) != len(manifest.files)
    is_large = manifest.bundle_size > MAX_BUNDLE_BYTES or any(
        item.size > MAX_FILE_BYTES for item in manifest.files
    )
    if is_odd or is_large or not paths or unpacked_bytes(manifest) > MAX_UNPACKED_BYTES:
        raise UpdateFailedError(
            VERIFICATION,
            "bounds",
            "The manifest names no files, one of them twice, or more bytes than may be unpacked.",
        )


def read_kept(path: Path) -> Optional[Manifest]:
    """Return the manifest kept in a file; None when it is absent or not readable."""
    try:
        manifest = read_manifest(path.read_bytes(), path.name)
        release_id_of(manifest.release_id)
    except (OSError, TrustError, ValueError):
        return None
    return manifest


def release_id_of(value: object) -> str:
    """Return the id of a release, which becomes the name of a folder. Raises ValueError."""
    return str(UUID(str(value)))


def safe_path(name: str) -> str:
    """Return a path inside a release without leading `./`. Raises ValueError when it leaves it."""
    plain = name[2:] if name.startswith("./") else name
    if _is_odd(plain):
        raise ValueError(f"{name[:MAX_PATH_CHARS]!r} is no path inside a release")
    return plain


def _is_odd(path: str) -> bool:
    has_steps = any(part in ("", ".", "..") for part in path.split("/"))
    return has_steps or len(path) > MAX_PATH_CHARS or not path.isprintable() or "\\" in path

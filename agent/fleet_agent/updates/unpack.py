"""Unpacking a bundle: what the manifest lists and nothing else."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Optional

from fleet_agent.durable import sync_directory
from fleet_agent.updates.errors import VERIFICATION, UpdateFailedError
from fleet_agent.updates.facts import safe_path, unpacked_bytes
from fleet_agent.updates.manifest import FileRecord, Manifest

BLOCK_BYTES = 1024 * 1024
FOLDER_MODE = 0o755
# Headers and padding of one member; long names take two members more.
MEMBER_OVERHEAD = 8 * 1024


def check_bundle(path: Path, facts: Manifest) -> None:
    """Raises UpdateFailedError unless these are the bytes the manifest means. Raises OSError."""
    size = path.stat().st_size
    if size != facts.bundle_size or sha256_of(path) != facts.bundle_sha256:
        raise UpdateFailedError(
            VERIFICATION, "bundle", "The bundle is not the one that its signed manifest names."
        )


def unpack(bundle: Path, facts: Manifest, folder: Path) -> None:
    """Make a folder with every file of the release, on disk when this returns.

    Raises UpdateFailedError when the bundle holds anything else than the manifest lists, OSError.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    wanted = {item.path: item for item in facts.files}
    with _members(bundle, facts) as members:
        for name, stream in members:
            item = wanted.pop(name, None)
            if item is None:
                raise _refused(name, "is not in the manifest, or twice in the bundle")
            _write(stream, folder / name, item)
    if wanted:
        raise _refused(min(wanted), "is missing")
    for place, _, _ in os.walk(folder, topdown=False):
        os.chmod(place, FOLDER_MODE)
        sync_directory(Path(place))


def extract(bundle: Path, facts: Manifest, names: Iterable[str], folder: Path) -> list[str]:
    """Put single files of a release back in their places, each in one step; return their names.

    Raises UpdateFailedError, OSError.
    """
    wanted = {item.path: item for item in facts.files if item.path in set(names)}
    done = []
    with _members(bundle, facts) as members:
        for name, stream in members:
            item = wanted.pop(name, None)
            if item is None:
                continue
            target = folder / name
            aside = target.with_name(f".{target.name[:200]}.repair")
            _free_way(folder, target)
            aside.unlink(missing_ok=True)
            _write(stream, aside, item)
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            aside.replace(target)
            sync_directory(target.parent)
            done.append(name)
    return done


def sha256_of(path: Path) -> str:
    """Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(BLOCK_BYTES), b""):
            digest.update(block)
    return digest.hexdigest()


def _free_way(folder: Path, target: Path) -> None:
    # A link or file in the place of a folder would lead the file elsewhere.
    above = list(target.relative_to(folder).parents)
    for place in reversed(above[:-1]):
        path = folder / place
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            path.unlink()
        path.mkdir(mode=FOLDER_MODE, exist_ok=True)


class _Capped:
    """Reads no more than a bundle of this release can hold; gzip may promise anything."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self._left = limit

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(min(size, BLOCK_BYTES) if size >= 0 else BLOCK_BYTES)
        self._left -= len(data)
        if self._left < 0:
            raise UpdateFailedError(VERIFICATION, "bomb", "The bundle unpacks to more than it may.")
        return data


@contextmanager
def _members(bundle: Path, facts: Manifest) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    # Folders have members, too; none of them needs more than its path's length.
    limit = unpacked_bytes(facts) + MEMBER_OVERHEAD * (4 * len(facts.files) + 16)
    try:
        with gzip.open(bundle) as stream:
            capped = _Capped(stream, limit)  # type: ignore[arg-type]
            with tarfile.open(fileobj=capped, mode="r|") as archive:  # type: ignore[call-overload]
                yield _plain_files(archive)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UpdateFailedError(
            VERIFICATION, "archive", f"The bundle is no whole tar.gz: {error}"
        ) from None


def _plain_files(archive: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for member in archive:
        if member.isdir() and member.name in (".", "./"):
            continue
        try:
            name = safe_path(member.name.rstrip("/") if member.isdir() else member.name)
        except ValueError as error:
            raise UpdateFailedError(VERIFICATION, "path", f"{error}.") from None
        if member.isdir():
            continue
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
            raise _refused(name, "is neither a plain file nor a folder")
        stream = archive.extractfile(member)
        if stream is None:
            raise _refused(name, "cannot be read")
        yield name, stream


def _write(stream: IO[bytes], path: Path, item: FileRecord) -> None:
    path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as sink:
        digest, size = hashlib.sha256(), 0
        while size <= item.size:
            block = stream.read(min(BLOCK_BYTES, item.size + 1 - size))
            if not block:
                break
            sink.write(block)
            digest.update(block)
            size += len(block)
        sink.flush()
        os.fchmod(sink.fileno(), item.mode)
        os.fsync(sink.fileno())
    if size != item.size or digest.hexdigest() != item.sha256:
        raise _refused(item.path, "is not what the manifest says")


def differences(folder: Path, facts: Manifest) -> list[dict[str, Optional[str]]]:
    """Return how the files in a folder differ from the manifest: path, kind, expected, actual.

    Kinds are changed, missing, added and mode. Raises OSError when the folder cannot be read.
    """
    found = [item for facts_ in facts.files for item in _difference(folder, facts_)]
    known = {item.path for item in facts.files}
    for place, _, names in os.walk(folder, onerror=_raise):
        for name in names:
            path = str((Path(place) / name).relative_to(folder))
            if path not in known:
                found.append({"path": path, "kind": "added", "expected": None, "actual": None})
    return found


def spoilt(found: list[dict[str, Optional[str]]]) -> set[str]:
    """Return the paths among differences that the release's bundle puts right."""
    return {str(item["path"]) for item in found if item["kind"] != "added"}


def _raise(error: OSError) -> None:
    raise error


def _difference(folder: Path, item: FileRecord) -> list[dict[str, Optional[str]]]:
    path = folder / item.path
    record: dict[str, Optional[str]] = {"path": item.path, "expected": item.sha256}
    try:
        # A link in the way would show another file.
        is_inside = path.parent.resolve() == folder.resolve() / Path(item.path).parent
        found = path.lstat()
        is_plain = is_inside and stat.S_ISREG(found.st_mode)
        actual = sha256_of(path) if is_plain else "no plain file"
    except (FileNotFoundError, NotADirectoryError):
        return [{**record, "kind": "missing", "actual": None}]
    if actual != item.sha256:
        return [{**record, "kind": "changed", "actual": actual}]
    mode = stat.S_IMODE(found.st_mode)
    if mode != item.mode:
        modes = {"expected": f"{item.mode:04o}", "actual": f"{mode:04o}"}
        return [{"path": item.path, "kind": "mode", **modes}]
    return []


def _refused(name: str, what: str) -> UpdateFailedError:
    return UpdateFailedError(VERIFICATION, "files", f"The bundle is refused: {name[:200]} {what}.")

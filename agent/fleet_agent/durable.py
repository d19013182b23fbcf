"""Writing files so that a power cut leaves the old content or the new, never a mixture."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def sync_directory(path: Path) -> None:
    """Make a created, renamed or deleted name in this directory survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, data: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace the content of `path` in one step.

    Not `durable` means: still never half a file, but a power cut may bring the old content back.
    Raises OSError; the old content is then untouched.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            _keep_owner(path, stream.fileno())
            if durable:
                os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    if durable:
        sync_directory(path.parent)


def _keep_owner(path: Path, handle: int) -> None:
    with contextlib.suppress(OSError):
        before = path.stat()
        if before.st_uid != os.geteuid():
            os.fchown(handle, before.st_uid, before.st_gid)


def append_line(path: Path, record: dict[str, Any]) -> int:
    """Append one JSON line, on disk when this returns; return its length in bytes.

    A torn last line of an earlier crash is closed first, so that it cannot swallow this one.
    Raises OSError; what was written of the line is then taken back.
    """
    is_new = not path.exists()
    line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
    with path.open("a+b", buffering=0) as stream:
        size = stream.seek(0, os.SEEK_END)
        line = _closing_newline(stream, size) + line
        try:
            _write_whole(stream, line)
            os.fsync(stream.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                stream.truncate(size)
            raise
    if is_new:
        path.chmod(0o600)
        sync_directory(path.parent)
    return len(line)


def _write_whole(stream: Any, data: bytes) -> None:
    # An unbuffered write to a nearly full disk takes a part and raises nothing.
    if stream.write(data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _closing_newline(stream: Any, size: int) -> bytes:
    if not size:
        return b""
    stream.seek(size - 1)
    return b"" if stream.read(1) == b"\n" else b"\n"


def read_lines(path: Path, *, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Give each whole JSON object after byte `offset` with the byte position behind it.

    Lines that are torn or no objects are passed over: a crash while writing leaves such a line.
    """
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        return
    with stream:
        stream.seek(offset)
        for line in stream:
            offset += len(line)
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and line.endswith(b"\n"):
                yield record, offset


@contextlib.contextmanager
def directory_lock(path: Path) -> Iterator[None]:
    """Hold a directory's advisory lock, so that two programs do not rewrite one file at once."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

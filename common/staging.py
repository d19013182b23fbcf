"""The file an upload grows in until all of it is there and has its checksum."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import IO

from common.errors import StorageFull

CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Upload:
    """What the sender says about the whole: bytes, and SHA-256 in lower-case hex."""

    size: int
    sha256: str


@contextmanager
def full_disk_told(sentence: str) -> Iterator[None]:
    """Turn a full disk into StorageFull with this sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in {ENOSPC, EDQUOT}:
            raise StorageFull(sentence) from None
        raise


def expect_room(folder: Path, count: int, *, reserve: int, sentence: str) -> None:
    """Raise StorageFull unless `count` bytes leave `reserve` bytes free beside them."""
    if shutil.disk_usage(folder).free < count + reserve:
        raise StorageFull(sentence)


@dataclass(frozen=True)
class StagedFile:
    """A file on this machine; `reserve` bytes of its disk stay free, `full` says there are none."""

    path: Path
    reserve: int
    full: str

    def size(self) -> int:
        """Return its bytes, 0 when it is not there."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def holds(self, offset: int, part: bytes) -> bool:
        """Return whether these bytes stand at `offset`."""
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(len(part)) == part

    def sha256(self) -> str:
        """Return the checksum of all of it in hex."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def expect_room(self, count: int) -> None:
        """Raise StorageFull when there is no room for `count` bytes more."""
        expect_room(self.path.parent, count, reserve=self.reserve, sentence=self.full)

    @contextmanager
    def writing(self, *, offset: int, count: int) -> Iterator[IO[bytes]]:
        """Open it at `offset`; what stands behind is of a part that never counted.

        The bytes are on the disk before a row says so. Raises StorageFull.
        """
        with full_disk_told(self.full):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.expect_room(count)
            with open(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
                file.truncate(offset)
                file.seek(offset)
                yield file
                file.flush()
                os.fsync(file.fileno())

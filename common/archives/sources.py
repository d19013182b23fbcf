"""The bytes of a tar archive, packed by gzip or not, counted while they are read."""

import zlib
from typing import IO, Protocol

from common.archives.budget import Budget
from common.archives.refusal import ArchiveRefused

CHUNK = 64 * 1024
GZIP_MAGIC = b"\x1f\x8b"


class Source(Protocol):
    """Unpacked bytes, front to back."""

    def read(self, count: int) -> bytes:
        """Return `count` bytes, fewer only at the end."""
        ...


class PlainSource:
    """A file that is not packed."""

    def __init__(self, file: IO[bytes], budget: Budget) -> None:
        self._file = file
        self._budget = budget
        self._read = 0

    def read(self, count: int) -> bytes:
        """Return `count` bytes, fewer only at the end."""
        data = self._file.read(count)
        self._read += len(data)
        self._budget.add_bytes(len(data), read=self._read)
        return data


class GzipSource:
    """A gzip file of one or more members, never more unpacked at once than was asked for."""

    def __init__(self, file: IO[bytes], budget: Budget) -> None:
        self._file = file
        self._budget = budget
        self._read = 0
        self._pending = b""
        self._gzip = self._new()
        self._ended = False

    @staticmethod
    def _new() -> "zlib._Decompress":
        return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def read(self, count: int) -> bytes:
        """Return `count` bytes, fewer only at the end. Raises ArchiveRefused."""
        pieces = []
        while count > 0 and not self._ended:
            piece = self._some(min(count, CHUNK))
            count -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def _some(self, count: int) -> bytes:
        if self._gzip.eof:
            self._next_member()
            return b""
        data = self._pending or self._feed()
        try:
            piece = self._gzip.decompress(data, count)
        except zlib.error as error:
            raise ArchiveRefused(f"The gzip data is damaged: {error}.") from None
        if not data and not piece and not self._gzip.eof:
            raise ArchiveRefused("The gzip data is cut off.")
        self._pending = self._gzip.unconsumed_tail
        self._budget.add_bytes(len(piece), read=self._read)
        return piece

    def _feed(self) -> bytes:
        data = self._file.read(CHUNK)
        self._read += len(data)
        return data

    def _next_member(self) -> None:
        rest = self._gzip.unused_data
        while not rest.lstrip(b"\0") or len(rest) < len(GZIP_MAGIC):
            more = self._feed()
            if not more:
                break
            rest = rest.lstrip(b"\0") + more
        rest = rest.lstrip(b"\0")
        if not rest:
            self._ended = True
        elif rest.startswith(GZIP_MAGIC):
            self._gzip, self._pending = self._new(), rest
        else:
            raise ArchiveRefused("Something else follows the end of the gzip data.")

"""The regular files of a tar archive. Headers are read here: nothing is ever unpacked.

`tarfile` parses the 512 bytes of a header; its reading of long names, pax records and sparse
maps is not used, because it takes whatever size they claim.
"""

import tarfile
from collections.abc import Iterator

from common.archives.budget import Budget
from common.archives.members import Member
from common.archives.names import checked_name
from common.archives.refusal import ArchiveRefused
from common.archives.sources import CHUNK, Source

BLOCK = tarfile.BLOCKSIZE
PAX_BYTES = 64 * 1024
LONG_NAME_BYTES = 4 * 1024
# Headers that say something about the one that follows.
EXTENSIONS_IN_A_ROW = 4
CUT_OFF = "The tar archive is cut off."
_REFUSED = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device node",
    tarfile.BLKTYPE: "a device node",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    tarfile.GNUTYPE_LONGLINK: "a link",
}


def tar_members(source: Source, budget: Budget) -> Iterator[Member]:
    """Yield the regular files in order. Raises ArchiveRefused."""
    while (found := _next_header(source)) is not None:
        header, long_name = found
        name = checked_name(
            header.name if long_name is None else long_name, most_chars=budget.caps.name_chars
        )
        if header.type == tarfile.DIRTYPE:
            budget.add_folder(name, header.size)
            continue
        if header.type not in {tarfile.REGTYPE, tarfile.AREGTYPE} or not name:
            what = _REFUSED.get(header.type, f"of type {header.type!r}")
            raise ArchiveRefused(f"{name or 'A member'} is {what}; only plain files are read.")
        budget.add_member(name, header.size)
        body = _Body(source, header.size)
        yield Member(name=name, read=body.read, size=header.size, mode=header.mode & 0o7777)
        body.skip()
    _expect_end(source)


class _Body:
    """The bytes of one member."""

    def __init__(self, source: Source, size: int) -> None:
        self._source = source
        self._left = size
        self._padding = -size % BLOCK

    def read(self, count: int) -> bytes:
        count = min(count, self._left, CHUNK)
        data = self._source.read(count)
        if len(data) < count:
            raise ArchiveRefused(CUT_OFF)
        self._left -= count
        return data

    def skip(self) -> None:
        """Read what is left, and the padding."""
        while self.read(CHUNK):
            pass
        if len(self._source.read(self._padding)) < self._padding:
            raise ArchiveRefused(CUT_OFF)


def _next_header(source: Source) -> tuple[tarfile.TarInfo, str | None] | None:
    """Return the next header with the name that stands for its own, None at the end."""
    long_name: str | None = None
    size: int | None = None
    for _ in range(EXTENSIONS_IN_A_ROW + 1):
        header = _header(source)
        if header is None:
            if long_name is None and size is None:
                return None
            raise ArchiveRefused(CUT_OFF)
        if header.type == tarfile.GNUTYPE_LONGNAME:
            raw = _small(source, header.size, LONG_NAME_BYTES)
            long_name = raw.rstrip(b"\0").decode("utf-8", "replace")
        elif header.type in {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}:
            records = _pax(_small(source, header.size, PAX_BYTES))
            if header.type == tarfile.XGLTYPE and records.keys() & {"path", "size"}:
                raise ArchiveRefused("A global pax header names a path or a size.")
            long_name = records.get("path", long_name)
            size = _whole(records["size"]) if "size" in records else size
        else:
            header.size = header.size if size is None else size
            return header, long_name
    raise ArchiveRefused(f"More than {EXTENSIONS_IN_A_ROW} extended headers follow each other.")


def _header(source: Source) -> tarfile.TarInfo | None:
    block = source.read(BLOCK)
    if len(block) < BLOCK:
        raise ArchiveRefused(CUT_OFF)
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
        return None
    except (tarfile.HeaderError, ValueError, ArithmeticError) as error:
        raise ArchiveRefused(f"A tar header is damaged: {error}.") from None
    if header.size < 0:
        raise ArchiveRefused(f"A tar header claims {header.size} bytes.")
    return header


def _small(source: Source, size: int, most: int) -> bytes:
    if size > most:
        raise ArchiveRefused(f"An extended tar header has {size} bytes; it may have {most}.")
    padded = size + -size % BLOCK
    data = source.read(padded)
    if len(data) < padded:
        raise ArchiveRefused(CUT_OFF)
    return data[:size]


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ArchiveRefused("A pax header holds a size that is no number.")
    return int(text)


def _pax(data: bytes) -> dict[str, str]:
    """Parse records of the form `<length> <key>=<value>\\n`."""
    records: dict[str, str] = {}
    while data:
        length, space, _ = data[:12].partition(b" ")
        if not space or not length.isdigit() or not 5 <= int(length) <= len(data):
            raise ArchiveRefused("A pax header is damaged.")
        key, equals, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        if not equals or data[int(length) - 1 : int(length)] != b"\n":
            raise ArchiveRefused("A pax header is damaged.")
        if key.startswith(b"GNU.sparse"):
            raise ArchiveRefused("The archive holds a sparse file; only plain files are read.")
        records[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        data = data[int(length) :]
    return records


def _expect_end(source: Source) -> None:
    while chunk := source.read(CHUNK):
        if chunk.strip(b"\0"):
            raise ArchiveRefused("Something else follows the end of the tar archive.")

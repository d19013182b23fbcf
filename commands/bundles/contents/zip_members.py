"""The regular files of a zip archive, after its directory was checked as a whole."""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from common import limits
from common.archives.budget import Budget
from common.archives.members import Member
from common.archives.names import checked_name
from common.archives.refusal import ArchiveRefused
from common.archives.sources import CHUNK

_END = struct.Struct("<4s4H2LH")
_END_MAGIC = b"PK\x05\x06"
_LOCAL = struct.Struct("<4s5H3L2H")
_ENTRY_BYTES = 46
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_NO_ZIP64 = 0xFFFFFFFF
# Unix kinds an entry may claim; an entry made elsewhere claims none.
_FILE_KINDS = {0, stat.S_IFREG, stat.S_IFDIR}


def zip_members(file: IO[bytes], budget: Budget) -> Iterator[Member]:
    """Yield the regular files in order. Raises ArchiveRefused."""
    _check_directory(file, budget)
    with _refusing():
        archive = zipfile.ZipFile(file)
        entries = archive.infolist()
        _check_entries(file, entries, budget)
    for entry in entries:
        if not entry.is_dir():
            yield from _member(archive, entry, budget)


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn what `zipfile` raises into a refusal."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, UnicodeError) as error:
        raise ArchiveRefused(f"The zip archive is damaged: {error}.") from None
    except (NotImplementedError, RuntimeError) as error:
        raise ArchiveRefused(f"The zip archive cannot be read: {error}.") from None


def _check_directory(file: IO[bytes], budget: Budget) -> None:
    """Refuse before `zipfile` reads the directory into memory."""
    size = file.seek(0, 2)
    start = max(0, size - _END.size - 0xFFFF)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(_END_MAGIC)
    if at < 0 or len(tail) - at < _END.size:
        raise ArchiveRefused("The zip archive is cut off.")
    _, disk, first_disk, here, count, length, offset, comment = _END.unpack_from(tail, at)
    if disk or first_disk or here != count:
        raise ArchiveRefused("The zip archive is one of several parts.")
    if _NO_ZIP64 in {length, offset} or count == 0xFFFF:
        raise ArchiveRefused("The zip archive is of the 64-bit kind, which no bundle needs.")
    if start + at + _END.size + comment != size or offset + length != start + at:
        raise ArchiveRefused("The zip archive holds bytes that belong to none of its members.")
    if count > limits.BUNDLE_MEMBERS or length > limits.BUNDLE_MEMBERS * 1024:
        raise ArchiveRefused(f"The archive has more than {limits.BUNDLE_MEMBERS} members.")
    if count * _ENTRY_BYTES > length:
        raise ArchiveRefused("The zip archive claims more members than it lists.")
    budget.packed = size


def _check_entries(file: IO[bytes], entries: list[zipfile.ZipInfo], budget: Budget) -> None:
    """Refuse the whole archive for one bad entry, before any of them is read."""
    for entry in entries:
        _check_entry(entry, budget)
    end = 0
    for entry in sorted(entries, key=lambda one: one.header_offset):
        if entry.header_offset < end:
            raise ArchiveRefused(f"{entry.filename} overlaps the member before it.")
        file.seek(entry.header_offset)
        local = file.read(_LOCAL.size)
        if len(local) < _LOCAL.size:
            raise ArchiveRefused("The zip archive is cut off.")
        fields = _LOCAL.unpack(local)
        end = entry.header_offset + _LOCAL.size + fields[9] + fields[10] + entry.compress_size
    if end > budget.packed:
        raise ArchiveRefused("The members of the zip archive are larger than the archive.")


def _check_entry(entry: zipfile.ZipInfo, budget: Budget) -> None:
    # zipfile cuts a name at NUL; the name as it stands in the file is judged.
    name = checked_name(entry.orig_filename, most_chars=budget.caps.name_chars)
    if entry.flag_bits & _ENCRYPTED:
        raise ArchiveRefused(f"{name} is encrypted.")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in _FILE_KINDS:
        what = "a symbolic link" if kind == stat.S_IFLNK else "no plain file"
        raise ArchiveRefused(f"{name} is {what}; only plain files are read.")
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise ArchiveRefused(f"{name} is packed in a way no bundle needs.")
    if entry.is_dir():
        budget.add_folder(name, entry.file_size)
        return
    if not name:
        raise ArchiveRefused("A member has no name.")
    budget.add_member(name, entry.file_size)
    if entry.file_size > limits.BUNDLE_RATIO * max(entry.compress_size, 1) + 1024 * 1024:
        raise ArchiveRefused(f"{name} unpacks to more than {limits.BUNDLE_RATIO} times its size.")


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, budget: Budget) -> Iterator[Member]:
    seen = 0
    with _refusing():
        body = archive.open(entry)
    with body:

        def read(count: int) -> bytes:
            nonlocal seen
            with _refusing():
                data = body.read(min(count, CHUNK))
            seen += len(data)
            budget.add_bytes(len(data), read=budget.packed)
            return data

        yield Member(
            name=checked_name(entry.orig_filename, most_chars=budget.caps.name_chars), read=read
        )
        # To its end: only there is the checksum compared.
        while read(CHUNK):
            pass
    if seen != entry.file_size:
        raise ArchiveRefused(f"{entry.filename} does not have the size it claims.")

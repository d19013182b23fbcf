"""Which kind of archive a file is, and its members."""

import tarfile
from collections.abc import Iterator
from typing import IO

from commands.bundles.contents.zip_members import zip_members
from common import limits
from common.archives.budget import Budget, Caps
from common.archives.members import Member
from common.archives.refusal import ArchiveRefused
from common.archives.sources import GZIP_MAGIC, GzipSource, PlainSource
from common.archives.tar_members import tar_members

CAPS = Caps(
    members=limits.BUNDLE_MEMBERS,
    member_bytes=limits.BUNDLE_MEMBER_BYTES,
    unpacked_bytes=limits.BUNDLE_UNPACKED_BYTES,
    ratio=limits.BUNDLE_RATIO,
    name_chars=limits.BUNDLE_NAME_CHARS,
)
_OTHERS = {
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"7z\xbc\xaf": "7z",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"Rar!": "rar",
}


def archive_members(file: IO[bytes]) -> Iterator[Member]:
    """Yield the regular files of a tar.gz, tar or zip, known by its first bytes alone.

    `file` is seekable. Raises ArchiveRefused, possibly after some members were given out.
    """
    budget = Budget(CAPS, packed=file.seek(0, 2))
    file.seek(0)
    start = file.read(tarfile.BLOCKSIZE)
    file.seek(0)
    if start.startswith(GZIP_MAGIC):
        members = tar_members(GzipSource(file, budget), budget)
    elif start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        members = zip_members(file, budget)
    elif start[257:262] == b"ustar":
        members = tar_members(PlainSource(file, budget), budget)
    else:
        kind = next((word for magic, word in _OTHERS.items() if start.startswith(magic)), None)
        found = f"It is {kind}" if kind else "It is no archive"
        raise ArchiveRefused(f"{found}. Send a tar.gz, a tar or a zip.")
    yield from members
    if not budget.members:
        raise ArchiveRefused("The archive is empty.")

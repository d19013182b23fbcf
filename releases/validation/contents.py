"""What is in a bundle: the checksum of every file, and the few files that are looked into."""

import hashlib
from dataclasses import dataclass, field
from typing import IO

from common import limits
from common.archives.budget import Budget, Caps
from common.archives.members import Member
from common.archives.refusal import ArchiveRefused
from common.archives.sources import CHUNK, GZIP_MAGIC, GzipSource
from common.archives.tar_members import tar_members

CAPS = Caps(
    members=limits.ARTIFACT_MEMBERS,
    member_bytes=limits.ARTIFACT_MEMBER_BYTES,
    unpacked_bytes=limits.ARTIFACT_UNPACKED_BYTES,
    ratio=limits.ARTIFACT_RATIO,
    name_chars=limits.ARTIFACT_NAME_CHARS,
)
COMPOSE = ("compose.yml", "compose.yaml", "docker-compose.yml")
ENV_TEMPLATE = "env.template"
SUMS = "SHA256SUMS"
HOOKS = "hooks/"
_WHOLE = {*COMPOSE, ENV_TEMPLATE, SUMS}
_START_BYTES = 256


@dataclass(frozen=True)
class Entry:
    """A file: SHA-256 in hex, bytes, permission bits, and how it begins."""

    sha256: str
    size: int
    mode: int
    start: bytes


@dataclass
class Contents:
    """A bundle that was read to its end; `texts` are the files the checks read whole."""

    entries: dict[str, Entry] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)

    @property
    def compose_path(self) -> str:
        """Return the compose file that counts, empty when there is none."""
        return next((name for name in COMPOSE if name in self.entries), "")


def contents_of(file: IO[bytes]) -> Contents:
    """Read a bundle, a seekable tar.gz, member by member. Raises ArchiveRefused."""
    budget = Budget(CAPS, packed=file.seek(0, 2))
    file.seek(0)
    start = file.read(len(GZIP_MAGIC))
    file.seek(0)
    if start != GZIP_MAGIC:
        raise ArchiveRefused("It is no tar.gz. Pack the files with tar and gzip.")
    contents = Contents()
    for member in tar_members(GzipSource(file, budget), budget):
        _add(contents, member)
    if not contents.entries:
        raise ArchiveRefused("The archive holds no files.")
    _expect_no_file_is_a_folder(contents)
    return contents


def _add(contents: Contents, member: Member) -> None:
    digest, size, start = hashlib.sha256(), 0, b""
    is_read = member.name in _WHOLE and member.size <= limits.ARTIFACT_TEXT_BYTES
    text: list[bytes] = []
    while chunk := member.read(CHUNK):
        digest.update(chunk)
        size += len(chunk)
        if len(start) < _START_BYTES:
            start += chunk[: _START_BYTES - len(start)]
        if is_read:
            text.append(chunk)
    contents.entries[member.name] = Entry(digest.hexdigest(), size, member.mode, start)
    if is_read:
        contents.texts[member.name] = b"".join(text)


def _expect_no_file_is_a_folder(contents: Contents) -> None:
    for name in contents.entries:
        parent = name.rpartition("/")[0]
        while parent:
            if parent in contents.entries:
                raise ArchiveRefused(f"{parent} is a file and a folder at once.")
            parent = parent.rpartition("/")[0]

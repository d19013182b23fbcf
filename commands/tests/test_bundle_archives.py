"""Archives made to harm: each is refused with its reason, and nothing outside memory is touched."""

import gzip
import io
import random
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable

import pytest

from commands.bundles.contents.archive import archive_members
from commands.tests.bundles import tar, tar_gz, zipped
from common import limits
from common.archives.refusal import ArchiveRefused

LINK_TYPES = {
    "a symbolic link": tarfile.SYMTYPE,
    "a hard link": tarfile.LNKTYPE,
    "a device node": tarfile.CHRTYPE,
    "a named pipe": tarfile.FIFOTYPE,
    "a sparse file": tarfile.GNUTYPE_SPARSE,
}
BAD_NAMES = {
    "leads out": ["../etc/passwd", "a/../../b", "a/.."],
    "absolute": ["/etc/passwd", "C:/windows", "c:x"],
    "backslash": ["..\\..\\x", "a\\b"],
    "cannot be shown": ["a\nb", "a\rb", "a\x1b[2Jb", "safe\u202egpj.exe"],
    "longer than": ["n" * 256, "d/" * 150 + "x"],
}


def read(archive: bytes) -> dict[str, bytes]:
    """Read every member to its end."""
    seen = {}
    for member in archive_members(io.BytesIO(archive)):
        pieces = []
        while piece := member.read(64 * 1024):
            pieces.append(piece)
        seen[member.name] = b"".join(pieces)
    return seen


def refusal(archive: bytes) -> str:
    with pytest.raises(ArchiveRefused) as caught:
        read(archive)
    return str(caught.value)


def tar_of(*members: tuple[tarfile.TarInfo, bytes], **options: object) -> bytes:
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w", **options) as archive:  # type: ignore[call-overload]
        for member, data in members:
            archive.addfile(member, io.BytesIO(data))
    return into.getvalue()


def header(name: str, *, kind: bytes = tarfile.REGTYPE, size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member


def raw_header(name: str, *, kind: bytes, size: int) -> bytes:
    return header(name, kind=kind, size=size).tobuf(tarfile.GNU_FORMAT)


def padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 512)


END = b"\0" * 1024


@pytest.mark.parametrize("make", [tar_gz, tar, zipped])
def test_plain_archives_of_every_kind_are_read(make: Callable[[dict[str, bytes]], bytes]):
    files = {"logs/a.txt": b"one\n" * 1000, "logs/b.txt": b"", "deep/er/c.bin": bytes(range(256))}

    assert read(make(files)) == files


def test_long_and_foreign_names_are_read_in_both_tar_dialects():
    name = "logs/" + "ü" * 120 + ".txt"
    for dialect in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        assert read(tar_of((header(name, size=2), b"ok"), format=dialect)) == {name: b"ok"}


@pytest.mark.parametrize(("reason", "name"), [(r, n) for r, ns in BAD_NAMES.items() for n in ns])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_that_point_elsewhere_are_refused(reason: str, name: str, kind: str):
    archive = tar_of((header(name, size=1), b"x")) if kind == "tar" else zipped({name: b"x"})

    assert reason in refusal(archive)


def test_a_zip_name_cut_at_nul_is_judged_as_it_stands():
    archive = zipped({"aXb.txt": b"x"}).replace(b"aXb.txt", b"a\0b.txt")

    assert "cannot be shown" in refusal(archive)


@pytest.mark.parametrize(("what", "kind"), LINK_TYPES.items())
def test_whatever_is_no_plain_file_is_refused(what: str, kind: bytes):
    member = header("evil", kind=kind)
    member.linkname = "/etc/shadow"

    assert what in refusal(member.tobuf() + END)


def test_a_symbolic_link_in_a_zip_is_refused():
    into = io.BytesIO()
    entry = zipfile.ZipInfo("evil")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(into, "w") as archive:
        archive.writestr(entry, "/etc/shadow")

    assert "a symbolic link" in refusal(into.getvalue())


def test_a_name_that_is_there_twice_is_refused():
    once = tar({"a.txt": b"1"})
    twice = tar_of((header("a.txt", size=1), b"1"), (header("A.TXT", size=1), b"2"))
    into = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(into, "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("a.txt", "1")
        archive.writestr("a.txt", "2")

    assert read(once)
    assert "twice" in refusal(twice)
    assert "twice" in refusal(into.getvalue())


def test_more_members_than_allowed_are_refused():
    files = {f"f{number}": b"" for number in range(limits.BUNDLE_MEMBERS + 1)}

    for make in (tar_gz, zipped):
        assert "more than 2000 members" in refusal(make(files))


def test_folders_count_as_members():
    many = [(header(f"d{n}/", kind=tarfile.DIRTYPE), b"") for n in range(2_001)]

    assert "more than 2000 members" in refusal(tar_of(*many))


def test_a_member_that_claims_too_much_is_refused_before_it_is_read():
    huge = raw_header("huge", kind=tarfile.REGTYPE, size=limits.BUNDLE_MEMBER_BYTES + 1)

    assert "a member may have" in refusal(huge + b"x" * 512)


def test_a_negative_size_is_refused():
    block = bytearray(raw_header("x", kind=tarfile.REGTYPE, size=0))
    block[124:136] = b"\xff" * 12
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)

    assert "claims -1 bytes" in refusal(bytes(block) + END)


def test_a_gzip_bomb_is_refused_by_its_ratio():
    packer = zlib.compressobj(9, wbits=31)
    body = packer.compress(raw_header("bomb", kind=tarfile.REGTYPE, size=90 * 1024 * 1024))
    for _ in range(90):
        body += packer.compress(b"\0" * 1024 * 1024)

    assert "200 times its size" in refusal(body + packer.compress(END) + packer.flush())


def test_a_bomb_behind_the_end_of_the_tar_is_refused():
    assert "200 times its size" in refusal(gzip.compress(tar({"a": b"x"}) + b"\0" * 40_000_000))


def test_more_bytes_than_an_archive_may_unpack_to_are_refused():
    noise = random.Random(1).randbytes(1024 * 1024)  # noqa: S311 - bytes that do not compress
    size = 80 * 1024 * 1024

    class Large(io.RawIOBase):
        """Three members of 80 MiB, without holding them."""

        def __init__(self) -> None:
            self.at = 0
            self.heads = {
                index * (512 + size): raw_header(f"m{index}", kind=tarfile.REGTYPE, size=size)
                for index in range(3)
            }

        def seek(self, offset: int, whence: int = 0) -> int:
            self.at = 3 * (512 + size) if whence == 2 else offset
            return self.at

        def read(self, count: int = -1) -> bytes:
            head = self.heads.get(self.at)
            data = head if head is not None else noise[: min(count, len(noise))]
            data = data[:count]
            self.at += len(data)
            return data

    def read_on() -> None:
        for member in archive_members(Large()):  # type: ignore[arg-type]
            while member.read(64 * 1024):
                pass

    with pytest.raises(ArchiveRefused, match="unpacks to more than"):
        read_on()


def test_a_zip_bomb_is_refused_before_it_is_unpacked():
    assert "200 times its size" in refusal(zipped({"bomb": b"\0" * 50_000_000}))


def test_a_zip_that_lies_about_its_sizes_is_refused():
    good = zipped({"log": b"abc" * 1000})
    small = good.replace(struct.pack("<L", 3000), struct.pack("<L", 30))
    large = good.replace(struct.pack("<L", 3000), struct.pack("<L", 3001))

    assert "damaged" in refusal(small)
    assert "size it claims" in refusal(large) or "damaged" in refusal(large)


def test_overlapping_zip_entries_are_refused():
    """Many entries of one kernel of data: the bomb that no nesting needs."""
    kernel = zlib.compressobj(9, wbits=-15)
    data = kernel.compress(b"a" * 100_000) + kernel.flush()
    crc = zlib.crc32(b"a" * 100_000)
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, crc, len(data), 100_000, 1, 0)
    body = local + b"f" + data
    listed = b"".join(
        struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0, crc, len(data), 100_000,
            1, 0, 0, 0, 0, 0, 0,
        )
        + name
        for name in (b"f", b"g", b"h")
    )  # fmt: skip
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 3, 3, len(listed), len(body), 0)

    assert "overlaps" in refusal(body + listed + end)


def test_encrypted_and_oddly_packed_zip_entries_are_refused():
    good = zipped({"log": b"abc" * 100})
    at = good.index(b"PK\x01\x02")
    encrypted = good[: at + 8] + b"\x01\x00" + good[at + 10 :]
    odd = good[: at + 10] + b"\x0c\x00" + good[at + 12 :]

    assert "is encrypted" in refusal(encrypted)
    assert "packed in a way" in refusal(odd)


def test_archives_that_are_two_things_at_once_are_refused():
    good_zip, good_tar = zipped({"a": b"1"}), tar({"a": b"1"})

    assert "belong to none" in refusal(good_zip + b"tail")
    assert "belong to none" in refusal(b"PK\x03\x04stub" + good_zip)
    assert "follows the end" in refusal(good_tar + good_zip)
    assert "follows the end" in refusal(gzip.compress(good_tar) + good_zip)


def test_a_file_is_known_by_its_first_bytes_alone():
    assert "It is xz" in refusal(b"\xfd7zXZ" + b"\0" * 600)
    assert "It is no archive" in refusal(b"#!/bin/sh\nrm -rf /\n")
    assert "It is no archive" in refusal(b"")
    assert "cut off" in refusal(gzip.compress(b""))


@pytest.mark.parametrize("make", [tar_gz, tar, zipped])
def test_an_archive_that_is_cut_off_anywhere_is_refused(make: Callable[..., bytes]):
    whole = make({"a.txt": b"0123456789" * 200, "b.txt": b"x" * 700})
    last = len(whole) - 1 if make is not tar else len(whole) - 10240 + 512 * 9

    for length in range(0, last, 97):
        refusal(whole[:length])


def test_extended_headers_cannot_grow_without_bound():
    pax = raw_header("x", kind=tarfile.XHDTYPE, size=50_000_000)
    name = raw_header("x", kind=tarfile.GNUTYPE_LONGNAME, size=50_000_000)
    record = padded(b"12 a=bcdefg\n")
    chain = raw_header("x", kind=tarfile.XHDTYPE, size=12) + record

    assert "it may have" in refusal(pax + b"x" * 512)
    assert "it may have" in refusal(name + b"x" * 512)
    assert "follow each other" in refusal(chain * 50 + END)


def test_pax_records_cannot_smuggle_a_name_a_size_or_a_sparse_map():
    def with_record(record: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
        line = next(
            told
            for digits in (2, 3)
            if len(told := b"%d %s\n" % (len(record) + digits + 2, record))
            == len(record) + digits + 2
        )
        head = raw_header("pax", kind=kind, size=len(line))
        return head + padded(line) + raw_header("ok", kind=tarfile.REGTYPE, size=0) + END

    assert "leads out" in refusal(with_record(b"path=../../etc/passwd"))
    assert "a member may have" in refusal(with_record(b"size=99999999999"))
    assert "no number" in refusal(with_record(b"size=-5"))
    assert "sparse" in refusal(with_record(b"GNU.sparse.map=0,1"))
    assert "global pax header" in refusal(with_record(b"path=a", tarfile.XGLTYPE))


def test_damaged_bytes_anywhere_never_escape_as_another_error():
    seeded = random.Random(3)  # noqa: S311 - the same damage in every run
    for make in (tar_gz, tar, zipped):
        whole = bytearray(make({"a.txt": b"hello\n" * 50, "b.bin": bytes(range(256))}))
        for _ in range(400):
            damaged = bytearray(whole)
            for _ in range(seeded.randrange(1, 6)):
                damaged[seeded.randrange(len(damaged))] = seeded.randrange(256)
            try:
                read(bytes(damaged))
            except ArchiveRefused:
                continue

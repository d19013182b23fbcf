"""The process that reads archives: what it hands over, what it may use, how it may die."""

import gzip
import io
import json
import random
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commands.tests.bundles import tar_gz, zipped
from common import limits

PROJECT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-B", "-s", "-m", "commands.bundles.process"]
KEY = "-----BEGIN PRIVATE KEY-----\nMIIEabcdefghijklmnop\n-----END PRIVATE KEY-----\n"
FILES: dict[str, str | bytes] = {
    "b/logs/app.txt": "start\npassword = hunter2\nwrite failed: No space left on device\n",
    "b/etc/key.pem": KEY,
    "b/old.zip": zipped({"inner.txt": "password = hunter2"}),
    "b/utf16.txt": "token = abc123\n".encode("utf-16"),
    "b/power-cut.log": b"fine\n" + b"\0" * 300 + b"\nsecret = abc123\n",
}


# A process inherits the peak of the one it was forked from: a small one starts the reader.
STARTER = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], pass_fds=[int(fd) for fd in sys.argv[-2:]])
sys.stderr.write(f"used={resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024}")
"""


def process(archive: bytes) -> tuple[dict[str, Any], bytes, int]:
    """Run the reader; return what it says, the zip it wrote and the memory it used, in bytes."""
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as kept:
        source.write(archive)
        source.seek(0)
        files = (source.fileno(), kept.fileno())
        done = subprocess.run(
            [sys.executable, "-S", "-c", STARTER, *COMMAND, *map(str, files)],
            cwd=PROJECT,
            env={"LANG": "C.UTF-8"},
            pass_fds=files,
            capture_output=True,
            check=True,
        )
        kept.seek(0)
        used = int(done.stderr.rpartition(b"used=")[2])
        return (json.loads(done.stdout) if done.stdout else {}), kept.read(), used


def _said_size() -> bytes:
    head = tarfile.TarInfo("bomb")
    head.size = 10**11
    return head.tobuf(tarfile.GNU_FORMAT) + b"x" * 4096


def _zeros() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(b"\0" * 2**20) for _ in range(150)) + packer.flush()


def _pax_header() -> bytes:
    pax = tarfile.TarInfo("pax")
    pax.type, pax.size = tarfile.XHDTYPE, 10**10
    return pax.tobuf(tarfile.GNU_FORMAT) + b"x" * 4096


def _one_line() -> bytes:
    return gzip.compress(b"".join([_head("line", 90_000_000), b"a" * 90_000_000]))


def _entries() -> bytes:
    directory = io.BytesIO()
    with zipfile.ZipFile(directory, "w") as archive:
        for number in range(30_000):
            archive.writestr(f"{number}", "")
    return directory.getvalue()


# Archives that would take gigabytes from whoever believes them.
BOMBS: dict[str, Callable[[], bytes]] = {
    "a size of 100 GB": _said_size,
    "zeros": _zeros,
    "a pax header of 10 GB": _pax_header,
    "one line of 90 MB": _one_line,
    "30,000 entries": _entries,
    "zip of zeros": lambda: zipped({"z": b"\0" * 90_000_000}),
}


def _head(name: str, size: int) -> bytes:
    head = tarfile.TarInfo(name)
    head.size = size
    return head.tobuf()


def test_an_archive_becomes_a_zip_without_its_secrets_and_a_report():
    said, kept, _ = process(tar_gz(FILES))

    with zipfile.ZipFile(io.BytesIO(kept)) as archive:
        texts = {name: archive.read(name) for name in archive.namelist()}
    assert texts["b/logs/app.txt"].splitlines()[1] == b"password = [redacted:password]"
    assert texts["b/old.zip"] == FILES["b/old.zip"]
    assert texts["b/utf16.txt"] == b"token = [redacted:token]\n"
    joined = b"".join(text for name, text in texts.items() if name != "b/old.zip")
    assert not [word for word in (b"hunter2", b"abc123", b"MIIE") if word in joined]
    kinds = {one["path"]: (one["kind"], one["lines"]) for one in said["manifest"]}
    assert kinds["b/logs/app.txt"] == ("text", 3)
    assert kinds["b/old.zip"] == ("binary", 0)
    assert {one["rule"] for one in said["redactions"]} >= {"password", "private-key", "token"}
    assert [one["rule"] for one in said["findings"]] == ["disk_full"]
    assert said["findings"][0]["line"] == 3


def test_a_refused_archive_is_told_with_its_reason():
    said, _, _ = process(b"#!/bin/sh\n")

    assert said == {"refused": "It is no archive. Send a tar.gz, a tar or a zip."}


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS)
def test_no_archive_takes_more_than_256_mb(make: Callable[[], bytes]):
    said, kept, used = process(make())

    assert used < 256 * 1024 * 1024
    assert "refused" in said or len(kept) < limits.BUNDLE_BYTES


def test_a_large_honest_bundle_stays_within_256_mb():
    seeded = random.Random(5)  # noqa: S311 - the same bytes in every run
    noise = [seeded.randbytes(60).hex() for _ in range(4_000)]
    text = "\n".join(noise) + "\n"
    said, kept, used = process(tar_gz({f"logs/{n}.txt": text for n in range(20)}))

    assert used < 256 * 1024 * 1024
    assert len(said["manifest"]) == 20
    assert len(kept) > 1_000_000


def test_the_reader_knows_no_django_and_no_settings():
    code = (
        "import sys, commands.bundles.process;"
        "sys.exit(bool({'django', 'celery', 'psycopg'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0


def test_the_limits_hold_in_the_process():
    code = (
        "import resource, commands.bundles.process as p; p._limit();"
        "print([resource.getrlimit(k)[0] for k in"
        " (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_CORE)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, check=True, capture_output=True, text=True
    )

    wanted = [limits.BUNDLE_READER_MEMORY_BYTES, limits.BUNDLE_READER_CPU_S, 0]
    assert json.loads(done.stdout) == wanted

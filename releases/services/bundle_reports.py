"""Having a bundle read by a process that may die of it."""

import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import structlog
from django.core.files.storage import default_storage

from common import limits
from common.apart import run_apart
from common.staging import CHUNK, expect_room, full_disk_told
from releases.errors import ArtifactRefused
from releases.services.uploads import STAGING
from releases.validation.findings import error
from releases.validation.report import Report

log = structlog.get_logger(__name__)
_FULL = "There is no room to look at the bundle. Send it again later."


def bundle_report(file: IO[bytes]) -> Report:
    """Return what the static checks say of a bundle, a file on this machine's disk.

    A reader that dies, or takes too long, is a fault of the bundle.
    """
    try:
        done = run_apart(
            "releases.validation.process",
            files=[file.fileno()],
            timeout_s=limits.ARTIFACT_READER_WALL_S,
        )
    except subprocess.TimeoutExpired:
        return _refused(f"Reading took longer than {limits.ARTIFACT_READER_WALL_S} s.")
    if done.returncode != 0:
        tail = done.stderr[-2_000:].decode("utf-8", "replace")
        log.error("bundle_reader_died", code=done.returncode, said=tail)
        return _refused("Reading it ended its process: no bundle may need so much.")
    return Report(**json.loads(done.stdout))


def bundle_check(content: IO[bytes]) -> Report:
    """Return what the static checks say of a bundle that is not kept.

    Raises ArtifactRefused for one that is too large, StorageFull.
    """
    folder = Path(default_storage.path(STAGING))
    with full_disk_told(_FULL):
        folder.mkdir(parents=True, exist_ok=True)
        # On the disk with the reserve, under no name: it is gone with this process.
        with TemporaryFile(dir=folder) as copy:
            while chunk := content.read(CHUNK):
                if copy.tell() + len(chunk) > limits.ARTIFACT_BYTES:
                    raise ArtifactRefused(f"A bundle may have {limits.ARTIFACT_BYTES} bytes.")
                expect_room(
                    folder,
                    len(chunk),
                    reserve=limits.ARTIFACT_DISK_RESERVE_BYTES,
                    sentence=_FULL,
                )
                copy.write(chunk)
            copy.flush()
            return bundle_report(copy)


def _refused(reason: str) -> Report:
    return Report(findings=[asdict(error("archive", "", reason))])

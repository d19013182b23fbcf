"""Files to the portal: in parts, and continued where they broke."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Optional, Type, TypeVar

from fleet_client.core import Core
from fleet_client.download import Progress
from fleet_client.errors import Conflict, NotFound
from fleet_client.records import Record
from fleet_client.steps import Flow

PART_BYTES = 4 * 1024 * 1024
# How often the portal may say “go on elsewhere” before that is an error.
TURNS = 5
R = TypeVar("R", bound=Record)


def sent(
    core: Core,
    record: Type[R],
    *,
    state_path: str,
    parts_path: str,
    source: Path,
    on_progress: Optional[Progress],
) -> Flow[R]:
    """Send a file in parts; return the portal's last word on it.

    What the portal has of this very file already is not sent again.
    """
    size, sha256 = source.stat().st_size, _sha256(source)
    offset = yield from _received(core, state_path, size=size, sha256=sha256)
    turns = 0
    with source.open("rb") as file:
        while True:
            file.seek(offset)
            part = file.read(PART_BYTES)
            try:
                answer = yield from core.read(
                    record,
                    "PUT",
                    parts_path,
                    params={"offset": offset},
                    content=part,
                    headers={"X-Upload-Size": str(size), "X-Upload-SHA256": sha256},
                )
            except Conflict as error:
                turns += 1
                received = error.problem.get("received")
                if turns > TURNS or not isinstance(received, int):
                    raise
                offset = received
                continue
            offset += len(part)
            if on_progress is not None:
                on_progress(offset, size)
            if offset >= size:
                return answer


def _received(core: Core, path: str, *, size: int, sha256: str) -> Flow[int]:
    """Return the byte to begin at; the last part goes again, so that there is an answer."""
    try:
        state = yield from core.read(Record, "GET", path)
    except NotFound:
        return 0
    if (state.raw.get("size"), state.raw.get("sha256")) != (size, sha256):
        return 0
    return min(int(state.raw.get("received") or 0), max(size - 1, 0) // PART_BYTES * PART_BYTES)


def _sha256(source: Path) -> str:
    digest = hashlib.sha256()
    with source.open("rb") as file:
        while chunk := file.read(PART_BYTES):
            digest.update(chunk)
    return digest.hexdigest()

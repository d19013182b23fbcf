"""Files from the portal: kept beside their place until they are whole."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Dict, Optional

from fleet_client.core import Core
from fleet_client.errors import AnswerUnusable, FleetError, Unreachable
from fleet_client.steps import Flow, Pause

PARTIAL = ".part"
CHUNK_BYTES = 1024 * 1024
RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
Progress = Callable[[int, Optional[int]], object]


class PartialFile:
    """A sink that writes beside `target`, from where an earlier try left off if the portal agrees.

    `tag` names the content: what was left of another content is never continued.
    """

    def __init__(self, target: Path, tag: str, on_progress: Optional[Progress]) -> None:
        self.target = target
        self.path = target.with_name(
            f"{target.name}.{tag}{PARTIAL}" if tag else target.name + PARTIAL
        )
        self._on_progress = on_progress
        self._sha256 = ""
        self._stream: Optional[IO[bytes]] = None
        self._total: Optional[int] = None
        self.size = self.path.stat().st_size if self.path.exists() else 0

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Append to what is there when the portal sends the rest, else start over."""
        self.close()
        start = _start(status, headers)
        if start != self.size:
            if start:
                raise AnswerUnusable(
                    f"The portal sent the file from byte {start}, and {self.size} was asked for."
                )
            self.size = 0
        length = headers.get("content-length", "")
        encoded = headers.get("content-encoding", "identity") != "identity"
        self._total = start + int(length) if length.isdecimal() and not encoded else None
        self._sha256 = headers.get("x-content-sha256", "").lower()
        self._stream = _private(self.path, append=bool(start))

    def write(self, chunk: bytes) -> None:
        """Keep a piece."""
        if self._stream is None:
            raise AnswerUnusable("A body came before its answer.")
        self._stream.write(chunk)
        self.size += len(chunk)
        if self._on_progress:
            self._on_progress(self.size, self._total)

    def close(self) -> None:
        """Write down what came."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def discard(self) -> None:
        """Forget what came."""
        self.close()
        self.path.unlink(missing_ok=True)
        self.size = 0

    def finish(self) -> Path:
        """Put the whole file in its place; AnswerUnusable when the portal names another digest."""
        self.close()
        if self._sha256 and _digest(self.path) != self._sha256:
            self.discard()
            raise AnswerUnusable(
                f"{self.target.name} does not have the digest the portal names; it was removed. "
                "Download it again."
            )
        os.replace(self.path, self.target)
        return self.target


def fetched(
    core: Core,
    path: str,
    target: Path,
    *,
    params: Optional[Mapping[str, Any]] = None,
    tag: str = "",
    on_progress: Optional[Progress] = None,
) -> Flow[Path]:
    """Download into `target`; return it.

    With a `tag`, the name of a content that never changes, what a broken try left is continued,
    an earlier process's too; else every try begins at the beginning. A cut connection is taken up
    again as often as the client's retries allow without progress.
    """
    file = PartialFile(target, tag, on_progress)
    if not tag:
        file.discard()
    fruitless, most = 0, file.size
    while True:
        try:
            yield from core.ask("GET", path, params=params, headers=_range(file.size), sink=file)
            return file.finish()
        except FleetError as error:
            file.close()
            if error.status == 416 and file.size:
                file.discard()
                continue
            fruitless = 0 if tag and file.size > most else fruitless + 1
            most = max(most, file.size)
            pause = _again(core, error, fruitless)
            if pause is None:
                raise
        yield Pause(pause)
        if not tag:
            file.discard()


def _again(core: Core, error: FleetError, fruitless: int) -> Optional[float]:
    """Return how long to pause before the next try; None: the error stands."""
    if not isinstance(error, Unreachable) or not error.is_cut:
        return None
    return core.retries.pause_s(attempt=max(1, fruitless), waited_s=0.0, asked_s=None)


def _range(size: int) -> Dict[str, str]:
    # Without compression: bytes of a compressed body are not bytes of the file.
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
    return {**headers, "Range": f"bytes={size}-"} if size else headers


def _start(status: int, headers: Mapping[str, str]) -> int:
    found = RANGE.match(headers.get("content-range", ""))
    return int(found[1]) if status == 206 and found else 0


def _private(path: Path, *, append: bool) -> IO[bytes]:
    # A bundle or an audit log is for the eyes of who asked for it.
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
    return os.fdopen(os.open(path, flags, 0o600), "ab" if append else "wb")


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()

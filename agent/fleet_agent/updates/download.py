"""Fetching a bundle: gone on with where it stopped, never more than the manifest says."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import requests

from fleet_agent.durable import write_atomically
from fleet_agent.errors import PortalError
from fleet_agent.pace import Backoff
from fleet_agent.portal import PortalClient
from fleet_agent.updates.errors import NETWORK, VERIFICATION, UpdateFailedError

READ_TIMEOUT_S = 30.0
# In a row, without one byte of progress.
LINK_TRIES = 5
LINK_OVER = (401, 403, 404, 410)
# A connection that brings less in this time is cut: about 100 bytes a second. What it brought is
# kept; after so many in a row the update is given up, and the portal told.
SLOW_S = 60.0
SLOW_BYTES = 6 * 1024
SLOW_TRIES = 5
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class TooSlowError(PortalError):
    """The connection stands, and next to nothing comes."""


@dataclass
class Download:
    """One bundle on its way to `path`.

    `renewed_link` asks the portal for the offer again and returns a fresh link or raises
    PortalError, `told` is called with the bytes there are and may raise, `left_s` gives the seconds
    this may still take, `pause` waits.
    """

    portal: PortalClient
    path: Path
    size: int
    renewed_link: Callable[[], str]
    told: Callable[[int], None]
    left_s: Callable[[], float]
    pause: Callable[[float], object]
    _backoff: Backoff = field(default_factory=lambda: Backoff(base_s=1.0, cap_s=60.0))
    _renewals: int = 0
    _slow: int = 0

    def run(self, link: str) -> None:
        """Fetch what is missing. Raises UpdateFailedError, OSError."""
        is_stale = False
        while self._there() < self.size or not self.path.exists():
            before = self._there()
            try:
                link = self.renewed_link() if is_stale else link
                is_stale = False
                self._fetch(link)
                self._check_end()
            except PortalError as error:
                is_stale = error.status in LINK_OVER
                self._count(error, is_stale=is_stale, gained=self._there() - before)
                # A first link may just be too old.
                if not is_stale or self._renewals > 1:
                    self._wait(error)
        if self._there() > self.size:
            self.forget()
            raise UpdateFailedError(
                VERIFICATION, "too_long", f"The bundle is longer than {self.size} bytes."
            )
        self._sync()

    def forget(self) -> None:
        """Throw away what was fetched. Raises OSError."""
        self.path.unlink(missing_ok=True)
        self._tag_path.unlink(missing_ok=True)

    @property
    def _tag_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}.tag")

    def _there(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def _fetch(self, link: str) -> None:
        offset, tag = self._there(), self._tag()
        if offset and not tag:
            # Nothing says that the rest belongs to the same file.
            self.forget()
            offset = 0
        headers = {"Range": f"bytes={offset}-", "If-Range": tag} if offset else {}
        try:
            with self.portal.file(link, headers=headers, read_timeout_s=READ_TIMEOUT_S) as file:
                answer, pieces = file
                self._take(answer, pieces, offset)
        except PortalError as error:
            if error.status == 416:
                self.forget()
            raise

    def _take(self, answer: requests.Response, pieces: Iterator[bytes], offset: int) -> None:
        if answer.status_code == 206:
            match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if match is None or int(match[1]) != offset:
                raise PortalError("The portal sends another part of the bundle than asked for.")
        elif offset:
            # It is another file by now, or parts are not known there.
            self.forget()
            offset = 0
        if not offset:
            self._keep_tag(answer.headers.get("ETag", ""))
        self._append(pieces, offset)

    def _append(self, pieces: Iterator[bytes], offset: int) -> None:
        """Write what comes. Raises TooSlowError."""
        looked_at, there = time.monotonic(), offset
        with self.path.open("ab") as sink:
            for block in pieces:
                sink.write(block)
                offset += len(block)
                if offset > self.size:
                    return
                self.told(offset)
                took_s = time.monotonic() - looked_at
                if took_s < SLOW_S:
                    continue
                if offset - there < SLOW_BYTES:
                    raise TooSlowError(f"{offset - there} bytes came in {took_s:.0f} s.")
                looked_at, there = time.monotonic(), offset

    def _check_end(self) -> None:
        if self._there() < self.size:
            raise PortalError("The connection was cut before the bundle was there.")

    def _tag(self) -> str:
        try:
            return str(json.loads(self._tag_path.read_bytes()))
        except (OSError, ValueError):
            return ""

    def _keep_tag(self, tag: str) -> None:
        # A weak tag does not promise the same bytes.
        if tag and not tag.startswith("W/"):
            write_atomically(self._tag_path, json.dumps(tag).encode(), durable=False)
        else:
            self._tag_path.unlink(missing_ok=True)

    def _count(self, error: PortalError, *, is_stale: bool, gained: int) -> None:
        """Raises UpdateFailedError when the same trouble came too often in a row."""
        if gained > 0:
            self._renewals = 0
        if gained >= SLOW_BYTES:
            # Less is no reason to come back at once: a server may live on that.
            self._slow = 0
            self._backoff.reset()
        self._renewals += is_stale
        self._slow += isinstance(error, TooSlowError)
        if self._renewals > LINK_TRIES:
            raise _failed("link", error)
        if self._slow >= SLOW_TRIES:
            raise _failed("slow_retrieval", error)

    def _wait(self, error: PortalError) -> None:
        delay_s = self._backoff.delay_s(error)
        if delay_s >= self.left_s():
            raise _failed("download", error)
        self.pause(delay_s)

    def _sync(self) -> None:
        handle = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _failed(code: str, error: PortalError) -> UpdateFailedError:
    return UpdateFailedError(NETWORK, code, f"The bundle cannot be fetched: {error}")

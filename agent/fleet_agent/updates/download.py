"""Fetching a bundle: gone on with where it stopped, never more than the manifest says."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


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

    def run(self, link: str) -> None:
        """Fetch what is missing. Raises UpdateFailedError, OSError."""
        backoff = Backoff(base_s=1.0, cap_s=60.0)
        renewals, is_stale = 0, False
        while self._there() < self.size or not self.path.exists():
            before = self._there()
            try:
                link = self.renewed_link() if is_stale else link
                is_stale = False
                self._fetch(link)
                self._check_end()
            except PortalError as error:
                is_stale = error.status in LINK_OVER
                if self._there() > before:
                    backoff.reset()
                    renewals = 0
                renewals += is_stale
                if renewals > LINK_TRIES:
                    raise _failed("link", error) from None
                # A first link may just be too old.
                if not is_stale or renewals > 1:
                    self._wait(backoff, error)
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
        with self.path.open("ab") as sink:
            for block in pieces:
                sink.write(block)
                offset += len(block)
                if offset > self.size:
                    return
                self.told(offset)

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

    def _wait(self, backoff: Backoff, error: PortalError) -> None:
        delay_s = backoff.delay_s(error)
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

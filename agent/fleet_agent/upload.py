"""Sending a bundle in parts, so that a cut costs one part; in one piece to an older portal."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from fleet_agent.commands.base import Context
from fleet_agent.errors import PortalError
from fleet_agent.pace import Backoff

# The portal takes up to 4 MiB; smaller parts lose less on a bad line.
PART_BYTES = 1024 * 1024
UPLOAD_TIMEOUT_S = 120.0
# In a row, without one byte of progress.
UPLOAD_TRIES = 8
NOT_IN_PARTS = (404, 405, 501)


@dataclass(frozen=True)
class Upload:
    """One file on its way to the portal as the bundle of a command."""

    path: Path
    command_id: str
    context: Context
    size: int
    sha256: str

    def send(self) -> dict[str, Any]:
        """Send what the portal lacks and return its last answer.

        Raises PortalError when it cannot be sent, OSError, CommandCancelledError.
        """
        offset = self._received()
        if offset is None:
            return self._in_parts(0)
        if offset >= self.size:
            return {}
        return self._in_parts(offset)

    def _received(self) -> Optional[int]:
        """Return how much of it the portal has; None when it knows nothing of it."""
        try:
            answer = self._patiently("GET", f"/commands/{self.command_id}/bundle")
        except PortalError as error:
            if error.status in NOT_IN_PARTS:
                return None
            raise
        received = answer.get("received")
        is_same = answer.get("size") in (None, self.size)
        return received if isinstance(received, int) and is_same else None

    def _in_parts(self, offset: int) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        backoff = Backoff(base_s=1.0, cap_s=30.0)
        has_restarted = False
        while offset < self.size:
            self.context.check_cancelled()
            try:
                answer = self._part(offset)
            except PortalError as error:
                if error.status in NOT_IN_PARTS and offset == 0:
                    return self._in_one_piece()
                there = error.answer.get("received")
                if error.status == 409 and isinstance(there, int) and there != offset:
                    offset = there
                    continue
                if error.status == 422 and not has_restarted:
                    # The checksum was wrong: the portal has thrown all of it away.
                    has_restarted, offset = True, 0
                    continue
                self._wait(backoff, error)
            else:
                backoff.reset()
                received = answer.get("received")
                sent = min(offset + PART_BYTES, self.size)
                offset = received if isinstance(received, int) and received > offset else sent
        return answer

    def _part(self, offset: int) -> dict[str, Any]:
        with self.path.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(PART_BYTES)
        return self.context.portal.call(
            "PUT",
            f"/commands/{self.command_id}/bundle/parts",
            params={"offset": offset},
            body=data,
            headers={
                "Content-Type": "application/octet-stream",
                "X-Upload-Size": str(self.size),
                "X-Upload-SHA256": self.sha256,
            },
            read_timeout_s=UPLOAD_TIMEOUT_S,
        )

    def _in_one_piece(self) -> dict[str, Any]:
        headers = {"Content-Type": "application/gzip", "X-Content-SHA256": self.sha256}
        return self._patiently("POST", f"/commands/{self.command_id}/bundle", headers=headers)

    def _patiently(
        self, method: str, path: str, headers: Optional[dict[str, str]] = None
    ) -> dict[str, Any]:
        backoff = Backoff(base_s=1.0, cap_s=30.0)
        while True:
            self.context.check_cancelled()
            try:
                if method == "GET":
                    return self.context.portal.call(method, path)
                with self.path.open("rb") as stream:
                    return self.context.portal.call(
                        method,
                        path,
                        body=stream,
                        headers=headers,
                        read_timeout_s=UPLOAD_TIMEOUT_S,
                    )
            except PortalError as error:
                self._wait(backoff, error)

    def _wait(self, backoff: Backoff, error: PortalError) -> None:
        """Wait before the next try. Raises the error when there is to be none."""
        delay_s = backoff.delay_s(error)
        if not error.is_temporary or backoff.failures >= UPLOAD_TRIES:
            raise error
        self.context.pause(delay_s)


def upload_of(path: Path, command_id: str, context: Context) -> Upload:
    """Return the upload of a finished file. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return Upload(path, command_id, context, path.stat().st_size, digest.hexdigest())

"""Heartbeats that could not be delivered: a bounded queue on disk, oldest dropped first."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from fleet_agent.durable import append_line, read_lines, write_atomically

MAX_SEGMENT_BYTES = 256 * 1024
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Queued:
    """One waiting heartbeat; `position` is what `ack` takes once it has been delivered."""

    body: dict[str, Any]
    position: tuple[int, int]


class OfflineQueue:
    """JSON lines in numbered segment files; a cursor file says how far they were delivered.

    One thread writes. Reading the length from another process changes nothing.
    """

    def __init__(self, directory: Path, *, max_bytes: int) -> None:
        self._directory = directory
        self.max_bytes = max_bytes
        self._cursor = self._read_cursor()
        self._sizes = {
            int(path.stem): path.stat().st_size
            for path in sorted(directory.glob("*.jsonl"))
            if path.stem.isdigit()
        }
        self._length = sum(1 for _ in self._waiting())
        self.dropped = 0
        self.trouble: Optional[str] = None

    def __len__(self) -> int:
        return self._length

    @property
    def size_bytes(self) -> int:
        return sum(self._sizes.values())

    def append(self, body: dict[str, Any]) -> bool:
        """Keep one heartbeat; return False, with `trouble` set, when the disk does not take it."""
        line_bytes = len(json.dumps(body, separators=(",", ":"))) + 2
        self._make_room(line_bytes)
        number = self._segment_for(line_bytes)
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            written = append_line(self._path(number), body)
        except OSError as error:
            if self.trouble is None:
                log.warning("The offline queue cannot be written, heartbeats are lost: %s", error)
            self.trouble = f"offline queue cannot be written: {error.strerror}"
            return False
        self._sizes[number] = self._sizes.get(number, 0) + written
        self._length += 1
        self.trouble = None
        return True

    def peek(self, limit: int) -> list[Queued]:
        """Return up to `limit` heartbeats, oldest first, and leave them in the queue."""
        found: list[Queued] = []
        for queued in self._waiting():
            found.append(queued)
            if len(found) == limit:
                break
        return found

    def ack(self, position: tuple[int, int]) -> None:
        """Forget everything up to and with the heartbeat at `position`.

        The cursor is not forced to disk: after a power cut some heartbeats are sent again, which
        the portal recognises by boot id and sequence.
        """
        number, offset = position
        for old in [segment for segment in self._sizes if segment < number]:
            self._remove(old)
        if offset >= self._sizes.get(number, 0):
            self._remove(number)
            # The number is not given out again, so an old cursor cannot hide new lines.
            offset = 0
            number += 1
        self._cursor = (number, offset)
        self._length = sum(1 for _ in self._waiting())
        record = json.dumps({"segment": number, "offset": offset}).encode()
        try:
            write_atomically(self._directory / "cursor.json", record, durable=False)
        except OSError as error:
            log.warning("The cursor of the offline queue cannot be written: %s", error)

    def _waiting(self) -> Iterator[Queued]:
        for number in sorted(self._sizes):
            if number < self._cursor[0]:
                continue
            offset = self._cursor[1] if number == self._cursor[0] else 0
            for body, position in read_lines(self._path(number), offset=offset):
                yield Queued(body, (number, position))

    def _segment_for(self, line_bytes: int) -> int:
        limit = min(MAX_SEGMENT_BYTES, self.max_bytes // 8)
        newest = max(self._sizes, default=0)
        if newest and newest >= self._cursor[0] and self._sizes[newest] + line_bytes <= limit:
            return newest
        return max(newest + 1, self._cursor[0])

    def _make_room(self, line_bytes: int) -> None:
        while self._sizes and self.size_bytes + line_bytes > self.max_bytes:
            before = self._length
            self._remove(min(self._sizes))
            self._length = sum(1 for _ in self._waiting())
            self.dropped += before - self._length
            log.warning(
                "The offline queue is full (%d bytes): dropped the %d oldest heartbeats",
                self.max_bytes,
                before - self._length,
            )

    def _remove(self, number: int) -> None:
        self._sizes.pop(number, None)
        try:
            self._path(number).unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("A segment of the offline queue cannot be removed: %s", error)

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:010d}.jsonl"

    def _read_cursor(self) -> tuple[int, int]:
        try:
            record = json.loads((self._directory / "cursor.json").read_text())
            return int(record["segment"]), int(record["offset"])
        except (OSError, ValueError, KeyError, TypeError):
            return 1, 0

"""Checksums of files in the state somebody accepted, and what differs from them now."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Optional

from fleet_agent.clock import rfc3339_now
from fleet_agent.durable import write_atomically

ABSENT = "absent"
MAX_FILE_BYTES = 256 * 1024 * 1024
log = logging.getLogger(__name__)


class AcceptedState:
    """accepted.json: for each path the SHA-256 that was accepted, or `absent`."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "accepted.json"
        record = _read(self._path)
        sums = record.get("checksums")
        self._sums: dict[str, str] = dict(sums) if isinstance(sums, dict) else {}
        self.accepted_at = str(record.get("accepted_at") or "")

    def compare(self, paths: Iterable[str]) -> dict[str, Any]:
        """Return what differs; a path that is looked at for the first time is accepted as it is.

        Raises OSError when the first state cannot be written down.
        """
        drifted, added, unreadable = [], [], []
        for path in dict.fromkeys(paths):
            try:
                now = checksum(Path(path))
            except OSError as error:
                unreadable.append({"path": path, "reason": error.strerror or str(error)})
                continue
            if path not in self._sums:
                added.append(path)
                self._sums[path] = now
            elif self._sums[path] != now:
                drifted.append({"path": path, "change": _change(self._sums[path], now)})
        if added:
            self._save()
        return {
            "drifted": drifted,
            "first_seen": added,
            "unreadable": unreadable,
            "checked": len(self._sums),
            "accepted_at": self.accepted_at,
        }

    def differences(self, paths: Iterable[str]) -> list[dict[str, Optional[str]]]:
        """Return what differs of what was accepted: path, kind, expected, actual."""
        kinds = {"removed": "missing", "appeared": "added", "changed": "changed"}
        found = []
        for path in paths:
            expected = self._sums.get(path)
            if expected is None:
                continue
            try:
                actual = checksum(Path(path))
            except OSError as error:
                found.append({"path": path, "kind": "unreadable", "actual": error.strerror})
                continue
            if actual != expected:
                kind = kinds[_change(expected, actual)]
                found.append({"path": path, "kind": kind, "expected": expected, "actual": actual})
        return found

    def accept(self, paths: Iterable[str]) -> int:
        """Take the present state of these files as right; return their number. Raises OSError."""
        self._sums = {path: checksum(Path(path)) for path in paths}
        self.accepted_at = rfc3339_now()
        self._save()
        return len(self._sums)

    def carry_over(self, path: Path, *, before: bytes, after: bytes) -> None:
        """Follow a change the agent made itself to a file that was in its accepted state."""
        if self._sums.get(str(path)) != hashlib.sha256(before).hexdigest():
            return
        self._sums[str(path)] = hashlib.sha256(after).hexdigest()
        try:
            self._save()
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error)

    def _save(self) -> None:
        self.accepted_at = self.accepted_at or rfc3339_now()
        record = {"accepted_at": self.accepted_at, "checksums": self._sums}
        write_atomically(self._path, json.dumps(record).encode())


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, `absent` when there is none. Raises OSError."""
    if not path.exists():
        return ABSENT
    if not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
        raise OSError(f"no plain file of at most {MAX_FILE_BYTES} bytes")
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _change(before: str, now: str) -> str:
    if now == ABSENT:
        return "removed"
    return "appeared" if before == ABSENT else "changed"


def _read(path: Path) -> dict[str, Any]:
    record: Optional[object]
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        record = None
    return record if isinstance(record, dict) else {}

"""What the agent did with each command, written down before it does it."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from fleet_agent.durable import append_line, read_lines, write_atomically

# Phases in their order. An entry is open until it is confirmed.
ACCEPTED = "accepted"
STARTED = "started"
WAITING = "waiting"
RESULT = "result"
CONFIRMED = "confirmed"
# Enough to recognise a command that the portal hands out again long after it was done.
KEPT_CONFIRMED = 500
MAX_LINES = 4 * KEPT_CONFIRMED
# Of the whole file; the oldest confirmed entries go first.
MAX_BYTES = 4 * 1024 * 1024
MAX_KEPT_RESULT_BYTES = 8 * 1024
KEPT_OF_A_REPORT = ("status", "result", "error", "error_code", "failure_class")
log = logging.getLogger(__name__)


@dataclass
class Entry:
    """One attempt at one command, as far as it got.

    `facts` is what was true before the command was carried out; `report` is the body of the
    PATCH that tells the portal how it ended.
    """

    command_id: str
    attempt: int
    kind: str = ""
    phase: str = ACCEPTED
    arguments: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    report: Optional[dict[str, Any]] = None

    @property
    def key(self) -> tuple[str, int]:
        return self.command_id, self.attempt

    def as_record(self) -> dict[str, Any]:
        record: dict[str, Any] = {
            "id": self.command_id,
            "attempt": self.attempt,
            "kind": self.kind,
            "phase": self.phase,
        }
        if self.phase in (ACCEPTED, STARTED, WAITING):
            record.update(arguments=self.arguments, facts=self.facts)
        if self.phase == RESULT:
            record["report"] = self.report
        if self.phase == CONFIRMED:
            record["report"] = _short(self.report)
        return record


class Journal:
    """An append-only file of JSON lines; every line is on disk before `write` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[tuple[str, int], Entry] = {}
        self._lines = 0
        self._bytes = 0
        self.trouble: Optional[str] = None
        for record, _ in read_lines(path):
            self._take(record)
        self._compact()

    def get(self, command_id: str, attempt: int) -> Optional[Entry]:
        return self._entries.get((command_id, attempt))

    def attempts(self, command_id: str) -> list[Entry]:
        """Return what is known of every attempt at this command, the oldest first."""
        return [entry for entry in self._entries.values() if entry.command_id == command_id]

    def check(self) -> bool:
        """Tell whether the disk takes lines again, by writing one when it last did not."""
        if self.trouble is None:
            return True
        try:
            append_line(self._path, {"check": True})
        except OSError as error:
            self.trouble = _trouble(error)
            return False
        self.trouble = None
        return True

    def in_phase(self, *phases: str) -> list[Entry]:
        return [entry for entry in self._entries.values() if entry.phase in phases]

    def write(self, entry: Entry, phase: str) -> None:
        """Move the entry to a phase, on disk first.

        Raises OSError when the disk does not take it; the entry then stays in its phase.
        """
        before, entry.phase = entry.phase, phase
        try:
            self._bytes += append_line(self._path, entry.as_record())
        except OSError as error:
            entry.phase = before
            self.trouble = _trouble(error)
            raise
        self.trouble = None
        self._entries[entry.key] = entry
        self._lines += 1
        if self._lines > MAX_LINES or self._bytes > MAX_BYTES:
            self._compact()

    def hold(self, entry: Entry, phase: str) -> None:
        """Move the entry to a phase on disk, or in memory alone when the disk is full."""
        try:
            self.write(entry, phase)
        except OSError as error:
            log.warning("The command journal cannot be written: %s", error)
            entry.phase = phase
            self._entries[entry.key] = entry

    def forget(self, entry: Entry) -> None:
        """End an entry nobody wants to hear about: withdrawn, or gone on with as a new attempt."""
        entry.report = entry.report or {"status": "withdrawn"}
        self.hold(entry, CONFIRMED)

    def _take(self, record: dict[str, Any]) -> None:
        try:
            key = (str(record["id"]), int(record["attempt"]))
            phase = str(record["phase"])
        except (KeyError, TypeError, ValueError):
            return
        entry = self._entries.setdefault(key, Entry(*key))
        entry.phase = phase
        entry.kind = str(record.get("kind") or entry.kind)
        entry.arguments = record.get("arguments") or entry.arguments
        entry.facts = record.get("facts") or entry.facts
        entry.report = record.get("report") or entry.report
        # Compaction drops the oldest, so an entry counts from its last line.
        self._entries[key] = self._entries.pop(key)

    def _compact(self) -> None:
        lines = {key: _line(entry) for key, entry in self._entries.items()}
        size = sum(len(line) for line in lines.values())
        confirmed = self.in_phase(CONFIRMED)
        for place, old in enumerate(confirmed):
            if len(confirmed) - place <= KEPT_CONFIRMED and size <= MAX_BYTES // 2:
                break
            size -= len(lines.pop(old.key))
            del self._entries[old.key]
        # Set in any case: a disk that refuses the rewrite must not be asked at every line.
        self._lines, self._bytes = len(lines), size
        if not lines and not self._path.exists():
            return
        try:
            write_atomically(self._path, b"".join(lines.values()))
        except OSError as error:
            log.warning("The command journal cannot be tidied up: %s", error)


def unconfirmed(path: Path) -> int:
    """Count the results in a journal that the portal has not confirmed; changes nothing."""
    phases = {
        (str(record.get("id")), record.get("attempt")): record.get("phase")
        for record, _ in read_lines(path)
    }
    return sum(phase == RESULT for phase in phases.values())


def _trouble(error: OSError) -> str:
    return f"command journal cannot be written: {error.strerror}"


def _line(entry: Entry) -> bytes:
    return json.dumps(entry.as_record(), separators=(",", ":")).encode() + b"\n"


def _short(report: Optional[dict[str, Any]]) -> Optional[dict[str, Any]]:
    # Output is only needed until the portal has it.
    if report is None:
        return None
    kept = {name: report[name] for name in KEPT_OF_A_REPORT if name in report}
    if len(json.dumps(kept.get("result"))) > MAX_KEPT_RESULT_BYTES:
        del kept["result"]
    return kept

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
        if self.phase in (STARTED, WAITING):
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
        self.trouble: Optional[str] = None
        for record, _ in read_lines(path):
            self._take(record)
        self._compact()

    def get(self, command_id: str, attempt: int) -> Optional[Entry]:
        return self._entries.get((command_id, attempt))

    def success_of(self, command_id: str) -> Optional[Entry]:
        """Return an attempt of this command that succeeded here, confirmed or not."""
        for entry in self._entries.values():
            if entry.command_id == command_id and (entry.report or {}).get("status") == "succeeded":
                return entry
        return None

    def in_phase(self, *phases: str) -> list[Entry]:
        return [entry for entry in self._entries.values() if entry.phase in phases]

    def write(self, entry: Entry, phase: str) -> None:
        """Move the entry to a phase, on disk first.

        Raises OSError when the disk does not take it; the entry then stays in its phase.
        """
        before, entry.phase = entry.phase, phase
        try:
            append_line(self._path, entry.as_record())
        except OSError as error:
            entry.phase = before
            self.trouble = f"command journal cannot be written: {error.strerror}"
            raise
        self.trouble = None
        self._entries[entry.key] = entry
        self._lines += 1
        if self._lines > MAX_LINES:
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
        """Drop an entry nobody wants to hear about, after the portal withdrew the command."""
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
        confirmed = self.in_phase(CONFIRMED)
        for old in confirmed[: max(0, len(confirmed) - KEPT_CONFIRMED)]:
            del self._entries[old.key]
        lines = [
            json.dumps(entry.as_record(), separators=(",", ":")) for entry in self._entries.values()
        ]
        self._lines = len(lines)
        if not lines and not self._path.exists():
            return
        try:
            write_atomically(self._path, "".join(f"{line}\n" for line in lines).encode())
        except OSError as error:
            log.warning("The command journal cannot be tidied up: %s", error)


def unconfirmed(path: Path) -> int:
    """Count the results in a journal that the portal has not confirmed; changes nothing."""
    phases = {
        (str(record.get("id")), record.get("attempt")): record.get("phase")
        for record, _ in read_lines(path)
    }
    return sum(phase == RESULT for phase in phases.values())


def _short(report: Optional[dict[str, Any]]) -> Optional[dict[str, Any]]:
    # Output is only needed until the portal has it.
    if report is None:
        return None
    return {name: report[name] for name in ("status", "result", "error") if name in report}

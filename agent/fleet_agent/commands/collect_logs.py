"""collect_logs: lines of the system's journal, of a unit or of everything."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections import deque
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Optional

from fleet_agent import processes
from fleet_agent.commands.base import (
    RESUME,
    STEP_TIMEOUT_S,
    CommandRefusedError,
    CommandType,
    Context,
    Outcome,
)
from fleet_agent.journal import Entry
from fleet_agent.keys import UNIT_NAME
from fleet_agent.redaction import remove_secrets

DEFAULT_LINES = 500
MAX_LINES = 5000
MAX_BYTES = 1024 * 1024
MAX_SINCE_S = 90 * 86_400
PROGRAM_TIMEOUT_S = 60.0
LOG_FILES = (Path("/var/log/syslog"), Path("/var/log/messages"))
_SPAN = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class CollectLogs(CommandType):
    """Payload: `unit`, `since` ("2h" or RFC 3339), `lines` (1 to 5000); all may be left out."""

    name: ClassVar[str] = "collect_logs"
    step_timeout_s: ClassVar[Optional[int]] = STEP_TIMEOUT_S

    def check(self, payload: dict[str, Any], context: Context) -> dict[str, Any]:
        unit = payload.get("unit")
        if unit is not None and not (isinstance(unit, str) and UNIT_NAME.fullmatch(unit)):
            raise CommandRefusedError(f"unit must be the name of a unit, not {unit!r:.150}.")
        lines = payload.get("lines", DEFAULT_LINES)
        if isinstance(lines, bool) or not isinstance(lines, int) or not 1 <= lines <= MAX_LINES:
            raise CommandRefusedError(
                f"lines must be a whole number from 1 to {MAX_LINES}, not {lines!r:.80}."
            )
        return {"unit": unit, "lines": lines, "since": _moment(payload.get("since"))}

    def execute(self, entry: Entry, context: Context) -> Optional[Outcome]:
        # Not closed here: the last of it is still being told when this returns.
        sink = tempfile.TemporaryFile(dir=context.state_dir)  # noqa: SIM115
        context.show_output(lambda offset, size: os.pread(sink.fileno(), size, offset))
        source = _collected(entry.arguments, context, sink)
        if not source:
            error = "Neither journalctl nor a log file gave a line: " + _listed(LOG_FILES)
            return Outcome("failed", error=error)
        text = _tail(sink)
        result = {**entry.arguments, "source": source, "lines": text.count("\n")}
        return Outcome("succeeded", result=result, output=remove_secrets(text))

    def probe(self, entry: Entry, context: Context) -> Optional[Outcome]:
        return RESUME


def _moment(since: object) -> Optional[int]:
    """Return the epoch second that `since` means. Raises CommandRefusedError."""
    if since is None:
        return None
    now = time.time()
    span = _SPAN.fullmatch(since) if isinstance(since, str) else None
    if span:
        moment = now - int(span[1]) * _UNITS_S[span[2]]
    else:
        try:
            parsed = datetime.fromisoformat(str(since).replace("Z", "+00:00"))
            moment = (parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)).timestamp()
        except (ValueError, OverflowError):
            moment = -1.0
    if not now - MAX_SINCE_S <= moment <= now + 60:
        raise CommandRefusedError(
            f'since must be a span such as "2h" or a time such as "2026-01-31T08:00:00Z" within '
            f"the last {MAX_SINCE_S // 86_400} days, not {since!r:.80}."
        )
    return int(moment)


def _collected(arguments: dict[str, Any], context: Context, sink: BinaryIO) -> str:
    """Write the lines and return where they come from; empty when there is no log at all."""
    is_answered = False
    if processes.is_present("journalctl"):
        done = processes.run(
            _journalctl(arguments),
            timeout_s=PROGRAM_TIMEOUT_S,
            sink=sink,
            check=context.check_cancelled,
        )
        is_answered = done.succeeded
        if is_answered and not _is_empty(done.output):
            return "journalctl"
        sink.truncate(0)
        sink.seek(0)
    for path in LOG_FILES:
        context.check_cancelled()
        lines = _lines_of(path, arguments)
        if lines:
            sink.write(b"".join(lines))
            sink.flush()
            return str(path)
    return "journalctl" if is_answered else ""


def _journalctl(arguments: dict[str, Any]) -> list[str]:
    command = ["journalctl", "--no-pager", "--quiet", "--output", "short-iso"]
    command += ["--lines", str(arguments["lines"])]
    if arguments["unit"]:
        command += ["--unit", arguments["unit"]]
    if arguments["since"] is not None:
        command += ["--since", f"@{arguments['since']}"]
    return command


def _is_empty(output: str) -> bool:
    text = output.strip()
    return not text or text.startswith(("-- No entries --", "No journal files were found"))


def _lines_of(path: Path, arguments: dict[str, Any]) -> deque[bytes]:
    """Return the last lines of a log file that name the unit; `since` cannot be kept here."""
    unit = (arguments["unit"] or "").rpartition(".service")[0] or arguments["unit"] or ""
    wanted = unit.encode()
    found: deque[bytes] = deque(maxlen=arguments["lines"])
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - MAX_BYTES))
            found.extend(line for line in stream if wanted in line)
    except OSError:
        return deque()
    return found


def _tail(sink: BinaryIO) -> str:
    size = sink.seek(0, os.SEEK_END)
    sink.seek(max(0, size - MAX_BYTES))
    return sink.read().decode("utf-8", "replace")


def _listed(paths: tuple[Path, ...]) -> str:
    return ", ".join(str(path) for path in paths)

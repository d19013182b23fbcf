"""What an attempt printed, as text that is safe to show."""

import re
from dataclasses import dataclass

from commands.models import Command, OutputChunk
from common import limits

# A page begins with the end of the output; the whole is a download.
SHOWN_CHARS = 256 * 1024
# Pieces per answer; a page asks for more at once when there are.
PIECES = 500
# A sequence for a terminal may be cut into this many pieces and is still recognised.
_CUTS = 4

_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b[ -/]*[0-~]"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
# The beginning of a sequence, or of a line end, whose rest is in the next piece.
_UNFINISHED = re.compile(
    r"(?:\x1b(?:\[[0-?]{0,64}[ -/]{0,8}|[\]PX^_][^\x07\x1b]{0,256}\x1b?|[ -/]{0,8})|\r)\Z"
)
# Control characters have names; what would reorder the text around it has none.
_NAMED = {code: f"^{chr(code + 64)}" for code in range(0x20) if chr(code) not in "\n\t"}
_UNNAMED = [*range(0x80, 0xA0), 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_SHOWN_AS = {**_NAMED, 0x7F: "^?", **dict.fromkeys(_UNNAMED, "\ufffd")}


def plain(text: str, *, before: str = "", more: bool = False) -> str:
    """Return printed text without sequences for terminals; other control characters as ^G.

    `before` is what came ahead of it. With `more` the text goes on: a sequence that is cut off at
    its end is left to the next call, which finds it in its `before`.
    """
    begun = _UNFINISHED.search(before)
    whole = (begun.group() if begun else "") + text
    cut = _UNFINISHED.search(whole) if more else None
    whole = _SEQUENCE.sub("", whole[: cut.start()] if cut else whole)
    return whole.replace("\r\n", "\n").replace("\r", "\n").translate(_SHOWN_AS)


@dataclass(frozen=True)
class Printed:
    """A stretch of what an attempt printed; `next_index` is the piece that follows it."""

    attempt: int
    text: str
    next_index: int
    # Characters before the stretch that are not in it.
    left_out: int = 0
    # The attempt printed more than is kept.
    truncated: bool = False
    # Nothing will be added.
    done: bool = True


def in_flight(command: Command, attempt: int) -> bool:
    """Say whether the attempt may still print."""
    return attempt == command.attempt and command.status in ("delivered", "running")


def printed(command: Command, *, attempt: int, after: int) -> Printed:
    """Return what the attempt printed after the piece `after`; -1 is before the first."""
    rows = command.chunks.filter(attempt=attempt, index__gt=after - _CUTS).order_by("index")
    found = list(rows[: PIECES + min(after + 1, _CUTS)])
    return _stretch(command, attempt, found, after)


def last_printed(command: Command, *, attempt: int) -> Printed:
    """Return the end of what the attempt printed, at most SHOWN_CHARS of it."""
    newest = command.chunks.filter(attempt=attempt).order_by("-index")
    last = newest.first()
    if last is None:
        return _stretch(command, attempt, [], -1)
    found = list(newest.filter(end__gt=last.end - SHOWN_CHARS)[: PIECES - 1])[::-1]
    return _stretch(command, attempt, found, found[0].index - 1)


def whole_text(command: Command, *, attempt: int) -> str:
    """Return everything that is kept of what the attempt printed."""
    rows = command.chunks.filter(attempt=attempt).order_by("index")
    return plain("".join(rows.values_list("text", flat=True)) or _reported(command, attempt))


def _reported(command: Command, attempt: int) -> str:
    """Return what the report at the end said was printed."""
    return command.output if attempt == command.attempt else ""


def _stretch(command: Command, attempt: int, found: list[OutputChunk], after: int) -> Printed:
    new = [chunk for chunk in found if chunk.index > after]
    done = not in_flight(command, attempt)
    if not new:
        # Nothing came while it ran: the report's own text counts as one piece, shown once.
        text = _reported(command, attempt) if done and after < 0 else ""
        return Printed(attempt, plain(text), next_index=1 if text else after + 1, done=done)
    before = "".join(chunk.text for chunk in found if chunk.index <= after)
    full = len(new) >= PIECES
    return Printed(
        attempt=attempt,
        text=plain("".join(one.text for one in new), before=before, more=full or not done),
        next_index=new[-1].index + 1,
        left_out=new[0].end - len(new[0].text),
        truncated=new[-1].end >= limits.OUTPUT_TOTAL_CHARS,
        done=done and not full,
    )

"""Tables for people: plain, aligned, and in colour only on a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, Optional

import click

from fleet_client.errors import plain_text

GOOD = frozenset({"healthy", "succeeded", "completed", "ready", "active", "verified"})
BAD = frozenset(
    {"failed", "offline", "rejected", "timed_out", "expired", "aborted", "refused"}
    | {"halted", "rolled_back", "closed"}
)
WARY = frozenset({"degraded", "cancelled", "paused", "quarantined", "awaiting_approval", "pending"})
WIDEST = 60


def table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return rows below their headings, each column as wide as it must be."""
    texts = [[cell(value) for value in row] for row in rows]
    columns = list(zip(headings, *texts))
    widths = [max(map(width, column)) for column in columns]
    lines = [_line([heading.upper() for heading in headings], widths, paints=False)]
    lines += [_line(row, widths, paints=True) for row in texts]
    return "\n".join(lines)


def facts(pairs: Sequence[tuple[str, Any]]) -> str:
    """Return names and values, one line each; what is empty is left out."""
    shown = [(name, cell(value, cut=False)) for name, value in pairs if value not in (None, "", ())]
    broad = max((width(name) for name, _ in shown), default=0)
    return "\n".join(
        f"{name}:{' ' * (broad - width(name))} {paint(value)}" for name, value in shown
    )


def cell(value: Any, *, cut: bool = True) -> str:
    """Return a value as text on one line."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        value = ", ".join(map(str, value))
    text = " ".join(plain_text(str(value)).split()) or "-"
    return text if not cut or len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def ago(moment: Optional[datetime]) -> str:
    """Return how long ago a moment was."""
    if moment is None:
        return "never"
    seconds = max(0, int((datetime.now(timezone.utc) - moment).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def paint(text: str) -> str:
    """Colour a state; click takes the colour away where nobody sees it."""
    for words, colour in ((GOOD, "green"), (BAD, "red"), (WARY, "yellow")):
        if text in words:
            return click.style(text, fg=colour)
    return text


def width(text: str) -> int:
    """Return how many columns a terminal needs."""
    return sum(_columns(sign) for sign in text)


def _columns(sign: str) -> int:
    if unicodedata.combining(sign):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def _line(texts: Sequence[str], widths: Sequence[int], *, paints: bool) -> str:
    padded = [
        (paint(text) if paints else text) + " " * (broad - width(text))
        for text, broad in zip(texts, widths)
    ]
    return "  ".join(padded).rstrip()

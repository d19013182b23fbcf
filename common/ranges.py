"""A piece of a file over HTTP (RFC 9110, section 14): single ranges of bytes."""

import re
from dataclasses import dataclass

_is_range = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII | re.IGNORECASE).fullmatch


class RangeUnsatisfiable(Exception):
    """No byte of the file is in the range."""


@dataclass(frozen=True)
class Range:
    """Bytes from `start` up to and with `end`."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start + 1


def range_of(*, header: str, condition: str, etag: str, size: int) -> Range | None:
    """Return the range `header` (Range) asks for; None means the whole file.

    `condition` is If-Range: unless it names this very `etag`, the whole is due. A header that is
    not understood, or asks for several ranges, counts as none. Raises RangeUnsatisfiable.
    """
    asked = _is_range(header.replace(" ", ""))
    if asked is None or (condition and condition.strip() != etag):
        return None
    first, last = asked.groups()
    if not first and not last:
        return None
    if not first:
        start, end = max(size - int(last), 0), size - 1
        if not int(last):
            raise RangeUnsatisfiable
    else:
        start, end = int(first), min(int(last) if last else size - 1, size - 1)
        if last and int(last) < int(first):
            return None
    if start >= size:
        raise RangeUnsatisfiable
    return Range(start, end)


def matches(header: str, etag: str) -> bool:
    """Say whether If-None-Match names the entity tag; weak comparison, as for GET."""
    named = [one.strip().removeprefix("W/") for one in header.split(",")]
    return "*" in named or etag in named

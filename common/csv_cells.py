"""CSV that a spreadsheet cannot be talked into executing."""

import csv
from collections.abc import Iterable, Iterator, Sequence

# What spreadsheets take for a formula, also in its full-width forms and behind white space.
# A leading apostrophe is marked too, so that taking one away always gives the original back.
_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def safe_cell(value: object) -> str:
    """Return the value as text that no spreadsheet takes for a formula.

    A risky cell gets one apostrophe in front; taking it away gives the original back.
    """
    text = "" if value is None else str(value)
    if text.startswith(_RISKY) or text.lstrip().startswith(_RISKY):
        return f"'{text}"
    return text


class _Echo:
    def write(self, text: str) -> str:
        return text


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield RFC 4180 lines, one at a time; every cell is made safe."""
    writer = csv.writer(_Echo(), lineterminator="\r\n")
    yield writer.writerow(header)
    for row in rows:
        yield writer.writerow([safe_cell(cell) for cell in row])

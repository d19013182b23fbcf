"""Columns of a gathered statement as PostgreSQL's binary arrays.

psycopg dumps a list element by element in Python, about a microsecond each; with some twenty
columns that alone would cost more than everything else a heartbeat needs. Here a column is one
list comprehension and one join.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import repeat
from struct import Struct
from typing import Any

Encoder = Callable[[Sequence[Any]], bytes]
Packer = Callable[[Sequence[Sequence[Any]]], bytes]

_header = Struct(">iiIii").pack
_HEADER_BYTES = 20
_length = Struct(">i").pack
_elements = Struct(">4xi").iter_unpack
_NULL = _length(-1)
_EIGHT = repeat(8)
# Type numbers of the elements, fixed in PostgreSQL's catalogue.
_BYTEA, _INT8, _TEXT, _FLOAT8, _TIMESTAMPTZ, _JSONB = 17, 20, 25, 701, 1184, 3802


def _array(element: int, elements: list[bytes]) -> bytes:
    return _header(1, 1, element, len(elements), 1) + b"".join(elements)


@lru_cache(maxsize=8_192)
def _text_element(text: str) -> bytes:
    data = text.encode()
    return _length(len(data)) + data


def binaries(values: Sequence[bytes | None]) -> bytes:
    """Return bytea[]."""
    return _array(
        _BYTEA, [_NULL if value is None else _length(len(value)) + value for value in values]
    )


def texts(values: Sequence[str | None]) -> bytes:
    """Return text[]; meant for values that come again and again."""
    return _array(_TEXT, [_NULL if value is None else _text_element(value) for value in values])


def documents(values: Sequence[bytes | None]) -> bytes:
    """Return jsonb[] of JSON texts."""
    return _array(
        _JSONB,
        [_NULL if value is None else _length(len(value) + 1) + b"\x01" + value for value in values],
    )


def _packer(element: int, letter: str, null: float) -> Packer:
    def pack(values: Sequence[Sequence[Any]]) -> bytes:
        parts: list[Iterable[Any]] = []
        for column in values:
            if None in column:
                parts += (_EIGHT, [null if value is None else value for value in column])
            else:
                parts += (_EIGHT, column)
        row = _row_of(letter * len(values))
        data = b"".join(map(row, *parts))
        return _header(1, 0, element, len(values) * len(values[0]), 1) + data

    return pack


@lru_cache
def _row_of(letters: str) -> Callable[..., bytes]:
    """Return what packs one row: before each number stands its size."""
    return Struct(">" + "".join(f"i{letter}" for letter in letters)).pack


# Each takes columns of equal length and packs them row after row into one array without NULLs.
packed_bigints = _packer(_INT8, "q", -(2**63))
packed_moments = _packer(_TIMESTAMPTZ, "q", -(2**63))
packed_floats = _packer(_FLOAT8, "d", math.nan)


def read_integers(data: bytes) -> list[int]:
    """Read an integer[] without NULLs."""
    return [value for (value,) in _elements(data[_HEADER_BYTES:])]

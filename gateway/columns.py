"""Columns of a gathered statement as PostgreSQL's binary arrays.

psycopg dumps a list element by element in Python, about a microsecond each; with some twenty
columns that alone would cost more than everything else a heartbeat needs. Here a column is one
list comprehension and one join.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any

Encoder = Callable[[Sequence[Any]], bytes]

_header = Struct(">iiIii").pack
_HEADER_BYTES = 20
_length = Struct(">i").pack
_eight = Struct(">iq").pack
_four = Struct(">ii").pack
_float = Struct(">id").pack
_elements = Struct(">4xi").iter_unpack
_NULL = _length(-1)
_TRUE = _length(1) + b"\x01"
_FALSE = _length(1) + b"\x00"
# Type numbers of the elements, fixed in PostgreSQL's catalogue.
_BOOL, _BYTEA, _INT8, _INT4, _TEXT, _FLOAT8, _TIMESTAMPTZ, _JSONB = (
    16,
    17,
    20,
    23,
    25,
    701,
    1184,
    3802,
)


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


def flags(values: Sequence[bool]) -> bytes:
    """Return boolean[]."""
    return _array(_BOOL, [_TRUE if value else _FALSE for value in values])


def integers(values: Sequence[int | None]) -> bytes:
    """Return integer[]."""
    return _array(_INT4, [_NULL if value is None else _four(4, value) for value in values])


def bigints(values: Sequence[int | None]) -> bytes:
    """Return bigint[]."""
    return _array(_INT8, [_NULL if value is None else _eight(8, value) for value in values])


def floats(values: Sequence[float | None]) -> bytes:
    """Return double precision[]."""
    return _array(_FLOAT8, [_NULL if value is None else _float(8, value) for value in values])


def moments(values: Sequence[int | None]) -> bytes:
    """Return timestamptz[] of microseconds since 2000-01-01 UTC."""
    return _array(_TIMESTAMPTZ, [_NULL if value is None else _eight(8, value) for value in values])


def documents(values: Sequence[bytes | None]) -> bytes:
    """Return jsonb[] of JSON texts."""
    return _array(
        _JSONB,
        [_NULL if value is None else _length(len(value) + 1) + b"\x01" + value for value in values],
    )


def read_integers(data: bytes) -> list[int]:
    """Read an integer[] without NULLs."""
    return [value for (value,) in _elements(data[_HEADER_BYTES:])]

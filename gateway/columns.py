"""Columns of a gathered statement as PostgreSQL's binary arrays.

psycopg dumps a list element by element in Python, about a microsecond each; with some twenty
columns that alone would cost more than everything else a heartbeat needs. Here a column is one
list comprehension and one join.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any

from psycopg.adapt import Dumper
from psycopg.pq import Format

_header = Struct(">iiIii").pack
_length = Struct(">i").pack
_eight = Struct(">iq").pack
_four = Struct(">ii").pack
_float = Struct(">id").pack
_NULL = _length(-1)
_TRUE = _length(1) + b"\x01"
_FALSE = _length(1) + b"\x00"


class Column:
    """One parameter, already in the wire format of its array type."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


def _kind(name: str, array_oid: int) -> type[Column]:
    """Make the class of one array type together with what psycopg needs to send it."""
    column = type(name, (Column,), {"__slots__": ()})

    class ColumnDumper(Dumper):
        format = Format.BINARY
        oid = array_oid

        def dump(self, obj: Column) -> bytes:
            return obj.data

    DUMPERS[column] = ColumnDumper
    return column


DUMPERS: dict[type[Column], type[Dumper]] = {}
_BYTES = _kind("BytesColumn", 1001)
_TEXT = _kind("TextColumn", 1009)
_BOOL = _kind("BoolColumn", 1000)
_INT4 = _kind("Int4Column", 1007)
_INT8 = _kind("Int8Column", 1016)
_FLOAT8 = _kind("Float8Column", 1022)
_MOMENT = _kind("MomentColumn", 1185)
_JSON = _kind("JsonColumn", 3807)


def _array(kind: type[Column], element_oid: int, elements: list[bytes]) -> Column:
    return kind(_header(1, 1, element_oid, len(elements), 1) + b"".join(elements))


@lru_cache(maxsize=8_192)
def _text_element(text: str) -> bytes:
    data = text.encode()
    return _length(len(data)) + data


def binaries(values: Sequence[bytes | None]) -> Column:
    """Return bytea[]."""
    return _array(
        _BYTES,
        17,
        [_NULL if value is None else _length(len(value)) + value for value in values],
    )


def texts(values: Sequence[str | None]) -> Column:
    """Return text[]; meant for values that come again and again."""
    return _array(
        _TEXT, 25, [_NULL if value is None else _text_element(value) for value in values]
    )


def flags(values: Sequence[bool]) -> Column:
    """Return boolean[]."""
    return _array(_BOOL, 16, [_TRUE if value else _FALSE for value in values])


def integers(values: Sequence[int | None]) -> Column:
    """Return integer[]."""
    return _array(_INT4, 23, [_NULL if value is None else _four(4, value) for value in values])


def bigints(values: Sequence[int | None]) -> Column:
    """Return bigint[]."""
    return _array(_INT8, 20, [_NULL if value is None else _eight(8, value) for value in values])


def floats(values: Sequence[float | None]) -> Column:
    """Return double precision[]."""
    return _array(_FLOAT8, 701, [_NULL if value is None else _float(8, value) for value in values])


def moments(values: Sequence[int | None]) -> Column:
    """Return timestamptz[] of microseconds since 2000-01-01 UTC."""
    return _array(_MOMENT, 1184, [_NULL if value is None else _eight(8, value) for value in values])


def documents(values: Sequence[bytes | None]) -> Column:
    """Return jsonb[] of JSON texts."""
    return _array(
        _JSON,
        3802,
        [
            _NULL if value is None else _length(len(value) + 1) + b"\x01" + value
            for value in values
        ],
    )


Encoder = Callable[[Sequence[Any]], Column]

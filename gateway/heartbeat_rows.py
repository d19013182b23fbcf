"""What the gathered statement of heartbeats is given and what it says, in PostgreSQL's format."""

from collections.abc import Iterable
from operator import itemgetter
from struct import Struct
from typing import NamedTuple

from psycopg import pq

from gateway import columns, plain_statement, statements
from gateway.lane import Row, Statement

_ROLES = columns.texts(statements.SENDING_ROLES)
_UNNESTED = [
    (encode, statements.ROW.index(name)) for name, (_, encode) in statements.UNNESTED.items()
]
_PACKED = [
    (pack, itemgetter(*map(statements.ROW.index, names))) for _, _, names, pack in statements.PACKED
]
_integer = Struct(">i").unpack


class Reply(NamedTuple):
    """What the statement says of the heartbeats at `positions` (counted from 1)."""

    status: int
    pending: int
    target: bytes
    interval_s: int
    positions: list[int]
    first_use: bytes | None
    key_use: bytes | None
    server_time: bytes


def _pack(rows: Iterable[Row]) -> list[bytes]:
    values = list(zip(*rows, strict=True))
    return [
        _ROLES,
        *[encode(values[position]) for encode, position in _UNNESTED],
        *[pack(pick(values)) for pack, pick in _PACKED],
    ]


def _read(result: pq.abc.PGresult, row: int) -> Reply:
    values = [result.get_value(row, column) for column in range(8)]
    status, pending, target, interval, positions = (value or b"" for value in values[:5])
    return Reply(
        _integer(status)[0],
        _integer(pending)[0],
        target,
        _integer(interval)[0],
        columns.read_integers(positions),
        values[5],
        values[6],
        values[7] or b"",
    )


HEARTBEATS: Statement[Reply] = Statement(b"heartbeats", statements.HEARTBEATS, _pack, _read)
PLAIN_HEARTBEATS: Statement[Reply] = Statement(
    b"plain_heartbeats", plain_statement.PLAIN_HEARTBEATS, _pack, _read
)

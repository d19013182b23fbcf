"""What the statements of claims and streams say, read from PostgreSQL's binary format."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg import pq

from gateway import claim_statements, columns
from gateway.lane import Row, Statement

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_integer = Struct(">i").unpack
_bigint = Struct(">q").unpack


class Claimed(NamedTuple):
    """One command for the claim at position `i`, or that there is none."""

    i: int
    matches: bool
    device: UUID
    first_use: UUID | None
    command: dict[str, Any] | None


class OpenUpdate(NamedTuple):
    """The update a device should be at: it has not said yet that it is done."""

    id: int
    version: str
    kind: str
    is_paused: bool


class Truth(NamedTuple):
    """What the device at position `i` should know."""

    i: int
    matches: bool
    device: UUID
    first_use: UUID | None
    # How many commands a claim would move.
    pending: int
    # Commands in flight that should stop, each with its attempt.
    cancels: list[tuple[str, int]]
    # Microseconds since 1970 on PostgreSQL's clock.
    at: int
    update: OpenUpdate | None

    @property
    def server_time(self) -> datetime:
        return _UNIX_EPOCH + timedelta(microseconds=self.at)


def _pack(rows: Iterable[Row]) -> list[bytes]:
    """Return credentials, device ids and numbers as arrays."""
    credentials, names, numbers = zip(*rows, strict=True)
    return [
        columns.binaries(credentials),
        columns.texts(names),
        columns.packed_bigints([numbers]),
    ]


def _head(values: list[bytes | None]) -> tuple[int, bool, UUID, UUID | None]:
    i, matches, device, first_use = values[:4]
    return (
        _integer(i or b"")[0],
        matches == b"\x01",
        UUID(bytes=device),
        UUID(bytes=first_use) if first_use else None,
    )


def _read_claimed(result: pq.abc.PGresult, row: int) -> Claimed:
    values = [result.get_value(row, column) for column in range(13)]
    return Claimed(*_head(values), _command(values[4:]) if values[4] else None)


def _command(values: list[bytes | None]) -> dict[str, Any]:
    pk, kind, payload, attempt, sequence, lease, expires, run_timeout, disruptive = (
        value or b"" for value in values
    )
    return {
        "id": UUID(bytes=pk),
        "type": kind.decode(),
        "payload": msgspec.Raw(payload),
        "attempt": _integer(attempt)[0],
        "sequence": _bigint(sequence)[0],
        "lease_expires_at": _moment(lease),
        "expires_at": _moment(expires),
        "run_timeout_s": _integer(run_timeout)[0],
        "disruptive": disruptive == b"\x01",
    }


def _moment(value: bytes) -> datetime:
    return _EPOCH + timedelta(microseconds=_bigint(value)[0])


def _read_truth(result: pq.abc.PGresult, row: int) -> Truth:
    values = [result.get_value(row, column) for column in range(8)]
    pending, cancels, at, update = values[4:]
    return Truth(
        *_head(values),
        _integer(pending or b"")[0],
        [tuple(pair) for pair in msgspec.json.decode(cancels)] if cancels else [],
        _bigint(at or b"")[0],
        OpenUpdate(*msgspec.json.decode(update)) if update else None,
    )


CLAIMS: Statement[Claimed] = Statement(b"claims", claim_statements.CLAIMS, _pack, _read_claimed)
STREAMS: Statement[Truth] = Statement(b"streams", claim_statements.STREAMS, _pack, _read_truth)

"""A connection of a hot path: prepared statements, sent and read without ceremony.

A psycopg cursor costs some 350 microseconds per statement, whatever is in it: adapting
parameters, loaders, a pool, two registrations of the socket with the event loop. Here the
parameters are bytes already, the socket stays registered, and libpq is driven directly through
`psycopg.pq`, its documented wrapper.

While PostgreSQL waits for the next statement it does nothing, so a relay can hand it over at once,
from where the answer was read: waking a task takes two turns of the event loop, with whatever else
has arrived meanwhile in between.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import psycopg
from psycopg import pq

from gateway.database import PATIENCE_S, Connection, DatabaseAway, connect

Answer = TypeVar("Answer")
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Statement(Generic[Answer]):
    """A prepared statement: its SQL, what makes its parameters, what reads a row of its result."""

    name: bytes
    prepare: str
    # Rows of values to parameters in PostgreSQL's binary format.
    pack: Callable[[Iterable[Row]], list[bytes]]
    # A result in binary format and the number of a row.
    read: Callable[[pq.abc.PGresult, int], Answer]

    def of(self, rows: Iterable[Row]) -> "Call[Answer]":
        """Return the statement with its parameters."""
        return Call(self, self.pack(rows))


class Call(NamedTuple, Generic[Answer]):
    """A statement and what it is given."""

    statement: Statement[Answer]
    parameters: list[bytes]


# Takes what a statement said and returns the next call, or None: then whoever waits for the lane
# takes the answers.
Relay = Callable[[list[Answer]], Call[Answer] | None]


class _Passing(Exception):
    """PostgreSQL refused the statement; another attempt may work."""


class StatementFailed(Exception):
    """PostgreSQL refused the statement; `sqlstate` says why."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class Lane(Generic[Answer]):
    """A connection that runs these statements and nothing else, one at a time."""

    def __init__(self, *statements: Statement[Answer]) -> None:
        self._statements = statements
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._socket = -1
        self._call: Call[Answer] | None = None
        self._relay: Relay[Answer] | None = None
        self._answer: asyncio.Future[list[Answer]] | None = None
        self._result: pq.abc.PGresult | None = None
        self._patience = asyncio.timeout(None)

    async def run(self, call: Call[Answer], relay: Relay[Answer] | None = None) -> list[Answer]:
        """Run a statement and return what it says once it is committed.

        As long as `relay` takes the answers and has another one, that is run, and what the last of
        them says is returned; all of the following is meant for that one.

        A lost connection is replaced; the statement may then run twice: it must allow for that.
        Raises DatabaseAway after PATIENCE_S seconds, StatementFailed when it is refused.
        """
        self._call, self._relay = call, relay
        try:
            async with asyncio.timeout(PATIENCE_S) as self._patience:
                while True:
                    with suppress(_Passing):
                        return await self._attempt(self._call)
        except TimeoutError:
            self.close()
            raise DatabaseAway from None

    async def _attempt(self, call: Call[Answer]) -> list[Answer]:
        try:
            connection = self._connection or await self._open()
            self._answer = self._loop.create_future()
            self._send(connection, call)
            return await self._answer
        except (psycopg.OperationalError, OSError):
            self.close()
            if self._loop.time() + 0.1 > (self._patience.when() or 0.0):
                raise DatabaseAway from None
            await asyncio.sleep(0.05)
            raise _Passing from None

    async def _open(self) -> Connection:
        connection = await connect()
        try:
            for statement in self._statements:
                await connection.execute(statement.prepare)
        except BaseException:
            connection.pgconn.finish()
            raise
        self._connection = connection
        self._socket = connection.pgconn.socket
        self._loop.add_reader(self._socket, self._readable, connection)
        return connection

    def _send(self, connection: Connection, call: Call[Answer]) -> None:
        self._call, self._result = call, None
        statement, parameters = call
        formats = [pq.Format.BINARY] * len(parameters)
        connection.pgconn.send_query_prepared(statement.name, parameters, formats, pq.Format.BINARY)
        if connection.pgconn.flush():
            self._loop.add_writer(self._socket, self._writable, connection)

    def _writable(self, connection: Connection) -> None:
        """Send what the socket did not take; what it says is read meanwhile."""
        try:
            if not connection.pgconn.flush():
                self._loop.remove_writer(self._socket)
        except psycopg.OperationalError as error:
            self._fail(error)

    def _readable(self, connection: Connection) -> None:
        wire = connection.pgconn
        try:
            wire.consume_input()
            while not wire.is_busy():
                result = wire.get_result()
                if result is None:
                    self._ended(connection)
                    return
                self._result = result
        except psycopg.OperationalError as error:
            self._fail(error)

    def _ended(self, connection: Connection) -> None:
        result, answer, call = self._result, self._answer, self._call
        if result is None or answer is None or answer.done() or call is None:
            return
        if result.status != pq.ExecStatus.TUPLES_OK:
            answer.set_exception(self._failure(result))
            return
        try:
            replies = [call.statement.read(result, row) for row in range(result.ntuples)]
            following = self._relay(replies) if self._relay else None
            if following is None:
                answer.set_result(replies)
            else:
                self._patience.reschedule(self._loop.time() + PATIENCE_S)
                self._send(connection, following)
        except Exception as error:  # noqa: BLE001 - whoever waits for the answer deals with it
            answer.set_exception(error)

    def _failure(self, result: pq.abc.PGresult) -> Exception:
        """Return what to raise for a refused statement."""
        state = result.error_field(pq.DiagnosticField.SQLSTATE) or b"XX000"
        if state[:2] in {b"08", b"57"}:
            self.close()
            return _Passing()
        if state[:2] == b"40":
            return _Passing()
        return StatementFailed(state.decode(), result.get_error_message())

    def _fail(self, error: Exception) -> None:
        self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def close(self) -> None:
        """Give the connection up; the next statement opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # A lost connection no longer knows its socket.
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            connection.pgconn.finish()

"""A connection of a hot path: one prepared statement, sent and read without ceremony.

A psycopg cursor costs some 350 microseconds per statement, whatever is in it: adapting
parameters, loaders, a pool, two registrations of the socket with the event loop. Here the
parameters are bytes already, the socket stays registered, and libpq is driven directly through
`psycopg.pq`, its documented wrapper.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

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


class StatementFailed(Exception):
    """PostgreSQL refused the statement; `sqlstate` says why."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


class Lane(Generic[Answer]):
    """A connection that runs one statement and nothing else, once at a time."""

    def __init__(self, statement: Statement[Answer]) -> None:
        self._statement = statement
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._socket = -1
        self._answer: asyncio.Future[pq.abc.PGresult] | None = None
        self._result: pq.abc.PGresult | None = None

    async def run(self, rows: Iterable[Row]) -> list[Answer]:
        """Run the statement and return what it says once it is committed.

        A lost connection is replaced; the statement may then run twice: it must allow for that.
        Raises DatabaseAway after PATIENCE_S seconds, StatementFailed when it is refused.
        """
        parameters = self._statement.pack(rows)
        deadline = self._loop.time() + PATIENCE_S
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    result = await self._attempt(parameters)
            except TimeoutError:
                self.close()
                raise DatabaseAway from None
            except (psycopg.OperationalError, OSError):
                self.close()
                if self._loop.time() + 0.1 > deadline:
                    raise DatabaseAway from None
                await asyncio.sleep(0.05)
                continue
            if result.status == pq.ExecStatus.TUPLES_OK:
                read = self._statement.read
                return [read(result, row) for row in range(result.ntuples)]
            self._refuse(result)

    def _refuse(self, result: pq.abc.PGresult) -> None:
        """Raise for what another attempt would not change."""
        state = result.error_field(pq.DiagnosticField.SQLSTATE) or b"XX000"
        if state[:2] in {b"08", b"57"}:
            self.close()
        elif state[:2] != b"40":
            raise StatementFailed(state.decode(), result.get_error_message())

    async def _attempt(self, parameters: list[bytes]) -> pq.abc.PGresult:
        connection = self._connection or await self._open()
        wire = connection.pgconn
        self._answer = self._loop.create_future()
        self._result = None
        formats = [pq.Format.BINARY] * len(parameters)
        wire.send_query_prepared(self._statement.name, parameters, formats, pq.Format.BINARY)
        while wire.flush():
            await self._writable()
        return await self._answer

    async def _open(self) -> Connection:
        connection = await connect()
        try:
            await connection.execute(self._statement.prepare)
        except BaseException:
            connection.pgconn.finish()
            raise
        self._connection = connection
        self._socket = connection.pgconn.socket
        self._loop.add_reader(self._socket, self._readable, connection)
        return connection

    async def _writable(self) -> None:
        """Wait until the socket takes more; read meanwhile, or both sides might wait."""
        ready: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_writer(self._socket, _settle, ready)
        try:
            await ready
        finally:
            self._loop.remove_writer(self._socket)

    def _readable(self, connection: Connection) -> None:
        wire, answer = connection.pgconn, self._answer
        try:
            wire.consume_input()
            while not wire.is_busy():
                result = wire.get_result()
                if result is None:
                    if answer is not None and not answer.done() and self._result is not None:
                        answer.set_result(self._result)
                    return
                self._result = result
        except psycopg.OperationalError as error:
            self.close()
            if answer is not None and not answer.done():
                answer.set_exception(error)

    def close(self) -> None:
        """Give the connection up; the next statement opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # A lost connection no longer knows its socket.
            self._loop.remove_reader(self._socket)
            connection.pgconn.finish()


def _settle(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)

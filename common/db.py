"""The one module that opens a cursor by hand: what the ORM has no words for goes through here."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection

Parameters = Sequence[Any] | Mapping[str, Any]


def database_now() -> datetime:
    """Return the database's clock. Inside a transaction it stands still."""
    moment: datetime = fetch_one("SELECT now()")[0]
    return moment


def execute(statement: str, parameters: Parameters = ()) -> int:
    """Run one statement and return the number of rows it touched."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)


def fetch_one(statement: str, parameters: Parameters = ()) -> tuple[Any, ...]:
    """Run one statement that gives exactly one row."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        row: tuple[Any, ...] = cursor.fetchone()
        return row


def fetch_all(statement: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows; only for answers with a bound."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def statements_may_take(*, seconds: int) -> None:
    """Let each statement of this transaction take longer than a request's usually may."""
    execute("SELECT set_config('statement_timeout', %s, true)", [f"{seconds}s"])


def is_undone() -> bool:
    """Say whether the transaction will be rolled back whatever happens."""
    return bool(connection.needs_rollback)


def only_one_runs(name: str) -> bool:
    """Take the transaction's advisory lock `name`; false when another transaction holds it.

    Two beats may send the same sweep at once: the second one then has nothing to do.
    """
    return bool(fetch_one("SELECT pg_try_advisory_xact_lock(hashtext(%s))", [name])[0])


def transaction_lock(name: str) -> None:
    """Take the transaction's advisory lock `name`, and wait for whoever holds it.

    For what must go one by one and has no row of its own to lock.
    """
    execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])


def connection_release() -> None:
    """Give the connection back before a long answer: a slow reader must not hold it.

    Does nothing inside a transaction.
    """
    if not connection.in_atomic_block:
        connection.close()

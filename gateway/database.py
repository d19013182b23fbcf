"""The gateway's own connections: a role with few rights, short time-outs, plans that stay."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
import structlog
from django.conf import settings
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolTimeout

log = structlog.get_logger(__name__)

ROLE = "fleet_gateway"
CONNECTIONS = 6
STATEMENT_MS = 2_000
# Within this many seconds a caller hears that the database is away.
PATIENCE_S = 2.5
_OPTIONS = (
    f"-c statement_timeout={STATEMENT_MS} -c lock_timeout=250 -c timezone=UTC -c jit=off"
    " -c synchronous_commit=on -c idle_in_transaction_session_timeout=5000"
    # The statements are look-ups by key whatever the size of the tables on the day of planning.
    " -c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_mergejoin=off"
    " -c enable_material=off -c enable_hashjoin=off"
)

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Pool = AsyncConnectionPool[Connection]
Answer = TypeVar("Answer")

# Attempts nobody waits for any more: cancelled, and perhaps not ended yet.
_abandoned: set[asyncio.Task[Any]] = set()


class DatabaseAway(Exception):
    """The database did not answer in time."""


def conninfo() -> str:
    """Return how to reach the database of Django's settings."""
    database = settings.DATABASES["default"]
    known = {
        "dbname": database["NAME"],
        "user": database["USER"],
        "password": database["PASSWORD"],
        "host": database["HOST"],
        "port": database["PORT"],
    }
    passed = {
        name: value
        for name, value in database.get("OPTIONS", {}).items()
        if name.startswith("ssl") or name in {"target_session_attrs", "passfile"}
    }
    return make_conninfo(
        **{name: value for name, value in known.items() if value},
        **passed,
        options=_OPTIONS,
        connect_timeout=2,
        application_name="fleet-gateway",
    )


async def prepare_connection(connection: Connection) -> None:
    """Give a fresh connection the gateway's role."""
    await connection.set_autocommit(True)
    role = getattr(settings, "GATEWAY_ROLE", ROLE)
    if not role:
        return
    try:
        await connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
    except psycopg.Error as error:
        log.warning("gateway_role_missing", role=role, reason=str(error).strip())


async def connect() -> Connection:
    """Open a connection outside of the pool."""
    opening = asyncio.ensure_future(_open())
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        # Cancelled half-way, psycopg would leave the session on the server. This ends soon: the
        # connection's own time-out has been running.
        with suppress(psycopg.Error, OSError):
            (await opening).pgconn.finish()
        raise


async def _open() -> Connection:
    connection: Connection = await psycopg.AsyncConnection.connect(conninfo())
    try:
        await prepare_connection(connection)
    except BaseException:
        connection.pgconn.finish()
        raise
    return connection


def make_pool() -> Pool:
    """Return a closed pool; opening it does not wait for the database."""
    return AsyncConnectionPool(
        conninfo(),
        min_size=2,
        max_size=CONNECTIONS,
        open=False,
        configure=prepare_connection,
        timeout=PATIENCE_S,
        reconnect_timeout=0,
        num_workers=2,
        name="gateway",
    )


async def run(pool: Pool, work: Callable[[Connection], Awaitable[Answer]]) -> Answer:
    """Do `work` on a connection; again on another when the first turns out to be dead.

    Raises DatabaseAway after PATIENCE_S seconds, even when a connection hangs.
    """
    deadline = time.monotonic() + PATIENCE_S
    task = asyncio.ensure_future(_attempts(pool, work, deadline))
    try:
        await asyncio.wait({task}, timeout=PATIENCE_S + 0.2)
    finally:
        if not task.done():
            # Cancelling talks to the server first, which may be what hangs: nobody waits for that.
            task.cancel()
            _abandoned.add(task)
            task.add_done_callback(_forget)
    if not task.done():
        raise DatabaseAway
    return task.result()


def _forget(ended: asyncio.Task[Any]) -> None:
    _abandoned.discard(ended)
    if not ended.cancelled():
        # Whatever it was, it is nobody's any more.
        ended.exception()


async def abandoned_end(within_s: float) -> None:
    """Wait, so many seconds at most, until attempts of this loop that were cancelled have ended.

    To be called before a pool is closed: whoever is cancelled at the moment it is given a
    connection hands it back by a worker of the pool, and after the close there is none.
    """
    here = asyncio.get_running_loop()
    left = {task for task in _abandoned if task.get_loop() is here}
    if left:
        await asyncio.wait(left, timeout=within_s)


async def _attempts(
    pool: Pool, work: Callable[[Connection], Awaitable[Answer]], deadline: float
) -> Answer:
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise DatabaseAway
        try:
            async with pool.connection(timeout=left) as connection:
                return await work(connection)
        except PoolTimeout:
            raise DatabaseAway from None
        except psycopg.OperationalError as error:
            if not _is_passing(error):
                raise
            await asyncio.sleep(0.01)


def _is_passing(error: psycopg.OperationalError) -> bool:
    """Say whether another attempt may work: a lost connection, a restart, a serialisation."""
    return error.sqlstate is None or error.sqlstate[:2] in {"08", "40", "57"}

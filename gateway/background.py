"""What runs beside the requests: hearing notifications, and the gateway's sign of life."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import psycopg
import structlog

from gateway import statements
from gateway.claim_statements import CHANNEL
from gateway.database import Connection, DatabaseAway, Pool, connect, run
from gateway.wakeups import Wakeups

log = structlog.get_logger(__name__)

PULSE_EVERY_S = 5.0


async def listen(wakeups: Wakeups) -> None:
    """Hear notifications on a connection of its own, for ever."""
    while True:
        try:
            await _listen(wakeups)
        except (psycopg.Error, OSError) as error:
            log.warning("listen_interrupted", reason=type(error).__name__)
        await asyncio.sleep(random.uniform(0.3, 1.0))  # noqa: S311 - spreads reconnects


async def _listen(wakeups: Wakeups) -> None:
    """Hear notifications until the connection is lost."""
    connection = await connect()
    try:
        await connection.execute(f"LISTEN {CHANNEL}")
        # What was queued while nobody listened.
        await wakeups.look()
        async for notification in connection.notifies():
            wakeups.hear(notification.payload)
    finally:
        # Closing politely would have to wait, which a task that is cancelled should not.
        connection.pgconn.finish()


async def pulse(pool: Pool) -> None:
    """Note every few seconds that devices are heard, for the sweep that calls them offline."""

    async def work(connection: Connection) -> None:
        await connection.execute(statements.PULSE, prepare=True)

    while True:
        try:
            await run(pool, work)
        except DatabaseAway:
            log.warning("pulse_missed")
        await asyncio.sleep(PULSE_EVERY_S)


async def for_ever(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Start `work` again whatever ends it."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("background_failed", work=name)
        await asyncio.sleep(1)

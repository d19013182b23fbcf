"""What runs beside the requests: hearing of queued commands, and the gateway's sign of life."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from uuid import UUID

import psycopg
import structlog

from gateway import statements
from gateway.claims import Claims
from gateway.database import Connection, DatabaseAway, Pool, connect, run

log = structlog.get_logger(__name__)

CHANNEL = "fleet_commands"
PULSE_EVERY_S = 5.0


async def listen(claims: Claims) -> None:
    """Wake claims by notifications, on a connection of its own, for ever."""
    while True:
        try:
            async with await connect() as connection:
                await connection.execute(f"LISTEN {CHANNEL}")
                # What was queued while nobody listened.
                await claims.look()
                async for notification in connection.notifies():
                    claims.wake(UUID(notification.payload))
        except (psycopg.Error, OSError, ValueError) as error:
            log.warning("listen_interrupted", reason=type(error).__name__)
        await asyncio.sleep(random.uniform(0.3, 1.0))  # noqa: S311 - spreads reconnects


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

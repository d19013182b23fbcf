"""Handing out commands: claimed with a lease, waited for without holding a connection."""

import asyncio
import random
import re
import time
from contextlib import suppress
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import msgspec

from common import limits
from gateway import counters, refusals, statements
from gateway.database import Connection, DatabaseAway, Pool, run
from gateway.wire import Asked, Receive, Send, answer, read_body

WAITERS_MAX = 10_000
LOOK_EVERY_S = 5.0
_BODY_BYTES = 1_024
_encode = msgspec.json.Encoder().encode
_whole = re.compile(r"\d{1,4}").fullmatch


class Claims:
    """The claims of one process and the devices that wait for a command here."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: dict[UUID, set[asyncio.Event]] = {}
        self._waiters = 0
        self._ending = False

    async def claim(
        self, asked: Asked, receive: Receive, send: Send, device_id: str, query: bytes
    ) -> None:
        """POST devices/{id}/commands/claim: up to `max` commands, after at most `wait` seconds."""
        if not asked.token:
            raise refusals.no_caller("X-Device-Token")
        if self._waiters >= WAITERS_MAX:
            raise refusals.overloaded()
        wait, most = _parameters(query)
        await read_body(asked, receive, _BODY_BYTES)
        credential = sha256(asked.token).digest()
        device, commands = await self._take(credential, device_id, most)
        if not commands and wait:
            gone = asyncio.ensure_future(receive())
            try:
                commands = await self._wait(device, gone, wait, (credential, device_id, most))
            finally:
                gone.cancel()
                with suppress(asyncio.CancelledError):
                    await gone
        counters.DELIVERED.inc(len(commands))
        counters.CLAIMS.labels("200").inc()
        await answer(send, asked, _encode({"commands": commands}))

    async def _wait(
        self,
        device: UUID,
        gone: "asyncio.Future[Any]",
        wait: float,
        claim: tuple[bytes, str, int],
    ) -> list[dict[str, Any]]:
        """Wait for a command until the time is over or the device hangs up."""
        deadline = time.monotonic() + wait
        woken = asyncio.Event()
        self._waiting.setdefault(device, set()).add(woken)
        self._waiters += 1
        counters.CLAIMERS.set(self._waiters)
        try:
            while True:
                # Looked at only after the interest is known: what is queued from here on wakes.
                woken.clear()
                _, commands = await self._take(*claim)
                if commands or not await self._is_woken(woken, gone, deadline):
                    return commands
        finally:
            self._waiters -= 1
            counters.CLAIMERS.set(self._waiters)
            events = self._waiting[device]
            events.discard(woken)
            if not events:
                del self._waiting[device]

    async def _is_woken(
        self, woken: asyncio.Event, gone: "asyncio.Future[Any]", deadline: float
    ) -> bool:
        """Sleep until something was queued; false when the wait is over for another reason."""
        wake = asyncio.ensure_future(woken.wait())
        try:
            left = deadline - time.monotonic()
            if left > 0 and not self._ending:
                await asyncio.wait({wake, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            return wake.done() and not gone.done() and not self._ending
        finally:
            wake.cancel()

    async def _take(
        self, credential: bytes, device_id: str, most: int
    ) -> tuple[UUID, list[dict[str, Any]]]:
        async def work(connection: Connection) -> list[tuple[Any, ...]]:
            cursor = await connection.execute(
                statements.CLAIM, [credential, device_id, most], prepare=True
            )
            rows = await cursor.fetchall()
            if rows and rows[0][3] is not None:
                await connection.execute(statements.CONFIRM, [[rows[0][3]]])
            return rows

        try:
            rows = await run(self._pool, work)
        except DatabaseAway:
            raise refusals.overloaded() from None
        if not rows:
            raise refusals.unknown_caller(by_key=False)
        if not rows[0][1]:
            raise refusals.not_found()
        return rows[0][0], [_command(row) for row in rows if row[4] is not None]

    def wake(self, device: UUID) -> None:
        """Make every claim that waits for this device look again."""
        for event in self._waiting.get(device, ()):
            event.set()

    async def look(self) -> None:
        """Wake whoever has something to claim although no notification said so."""
        devices = list(self._waiting)
        if not devices:
            return

        async def work(connection: Connection) -> list[tuple[Any, ...]]:
            cursor = await connection.execute(statements.WAKEABLE, [devices], prepare=True)
            return await cursor.fetchall()

        with suppress(DatabaseAway):
            for (device,) in await run(self._pool, work):
                self.wake(device)

    async def look_often(self) -> None:
        """Run `look` for ever; different processes at different times."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S * random.uniform(0.8, 1.2))  # noqa: S311
            await self.look()

    def end(self) -> None:
        """Answer every waiting claim now: the process is about to stop."""
        self._ending = True
        for device in self._waiting:
            self.wake(device)


def _parameters(query: bytes) -> tuple[int, int]:
    """Return `wait` and `max` of the query, or refuse."""
    sent = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    errors: dict[str, list[str]] = {}
    bounds = {"wait": (0, limits.CLAIM_WAIT_MAX_S, 0), "max": (1, limits.CLAIM_MAX, 1)}
    found: list[int] = []
    for name, (least, most, default) in bounds.items():
        text = sent.get(name)
        value = default if text is None else int(text) if _whole(text) else -1
        if not least <= value <= most:
            errors[name] = [f"Send a whole number from {least} to {most}."]
        found.append(value)
    if errors:
        raise refusals.invalid(errors)
    return found[0], found[1]


def _command(row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "id": row[4],
        "type": row[5],
        "payload": msgspec.Raw(row[6].encode()),
        "attempt": row[7],
        "lease_expires_at": row[8],
        "expires_at": row[9],
    }

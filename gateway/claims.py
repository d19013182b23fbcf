"""Handing out commands: claimed with a lease, waited for without holding a connection."""

import asyncio
import re
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import msgspec

from common import limits
from gateway import claim_rows, counters, refusals
from gateway.claim_rows import Claimed
from gateway.database import Pool
from gateway.rounds import Ask, Key, Rounds
from gateway.wakeups import Sleeper, Wakeups
from gateway.wire import Asked, Receive, Send, answer, read_body

WAITERS_MAX = 10_000
_BODY_BYTES = 1_024
_encode = msgspec.json.Encoder().encode
_whole = re.compile(r"\d{1,4}").fullmatch
_NOTHING: list[dict[str, Any]] = []


class Waiter(Sleeper):
    """A claim that may wait; `device` is known after its first look."""

    __slots__ = ("device", "key", "most", "wait")

    def __init__(self, key: Key, *, most: int, wait: int) -> None:
        super().__init__()
        self.key = key
        self.most = most
        self.wait = wait
        self.device: UUID | None = None

    def wake(self, word: str) -> None:
        # A wish to cancel brings nothing to claim.
        if word != "cancel":
            super().wake(word)


class Look(Ask[list[dict[str, Any]]]):
    """One look for commands; it ends with those that are handed out to the waiter."""

    __slots__ = ("waiter",)

    def __init__(self, waiter: Waiter) -> None:
        super().__init__(waiter.key, waiter.most)
        self.waiter = waiter


class Claims(Rounds[Look, Claimed]):
    """The claims of one process and the devices that wait for a command here."""

    def __init__(self, *, pool: Pool, wakeups: Wakeups) -> None:
        super().__init__(statement=claim_rows.CLAIMS, pool=pool, wakeups=wakeups)
        self._waiters = 0
        self._ending = False

    @property
    def waiting(self) -> int:
        """How many claims wait for a command."""
        return self._waiters

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
        key = (sha256(asked.token).digest(), device_id)
        waiter = Waiter(key, most=most, wait=wait)
        try:
            commands = await self._look(waiter)
            if not commands and wait:
                commands = await self._wait(waiter, receive)
        finally:
            self._forget(waiter)
        counters.DELIVERED.inc(len(commands))
        counters.CLAIMS.labels("200").inc()
        await answer(send, asked, _encode({"commands": commands}))

    async def _wait(self, waiter: Waiter, receive: Receive) -> list[dict[str, Any]]:
        """Wait for a command until the time is over or the device hangs up."""
        loop = asyncio.get_running_loop()
        until = loop.time() + waiter.wait
        while not self._ending:
            gone = await waiter.sleep(receive, until)
            if gone or not waiter.woken or self._ending:
                break
            commands = await self._look(waiter)
            if commands or loop.time() >= until:
                return commands
        return _NOTHING

    async def _look(self, waiter: Waiter) -> list[dict[str, Any]]:
        waiter.woken = False
        look = Look(waiter)
        self.put(look)
        return await look.future

    def number(self, asks: list[Look]) -> int:
        return sum(look.number for look in asks)

    def tell(self, asks: list[Look], replies: list[Claimed], heard: set[UUID]) -> None:
        """Deal the commands out, first come first served; who gets none waits from here on."""
        commands = [reply.command for reply in replies if reply.command is not None]
        taken = 0
        for look in asks:
            own = commands[taken : taken + look.number]
            taken += len(own)
            if not own:
                self._remember(look.waiter, replies[0].device, heard)
            look.settle(own)

    def _remember(self, waiter: Waiter, device: UUID, heard: set[UUID]) -> None:
        """Let a waiter be woken; what happened during the look wakes it at once."""
        if device in heard:
            waiter.woken = True
        if waiter.device is None and waiter.wait:
            waiter.device = device
            self._wakeups.add(device, waiter)
            self._waiters += 1
            counters.CLAIMERS.set(self._waiters)

    def _forget(self, waiter: Waiter) -> None:
        if waiter.device is not None:
            self._wakeups.discard(waiter.device, waiter)
            self._waiters -= 1
            counters.CLAIMERS.set(self._waiters)

    def end(self) -> None:
        """Let no claim wait from here on; those that do already have to be woken as well."""
        self._ending = True


def _parameters(query: bytes) -> tuple[int, int]:
    """Return `wait` and `max` of the query, or refuse."""
    if not query:
        return 0, 1
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

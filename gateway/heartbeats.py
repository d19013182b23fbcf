"""The doors of the hot path: one heartbeat, or a batch of kept ones."""

import asyncio
import random
from hashlib import sha256
from typing import Any

import msgspec

from common import limits
from gateway import refusals, statements
from gateway.database import Connection, DatabaseAway, Pool, run
from gateway.gatherer import Gatherer
from gateway.heartbeat_shapes import SEQUENCE, TS, Beat, Refused, Unreadable, read_beat, read_json
from gateway.waiting import Outcome, Sender, Tell
from gateway.wire import Asked, Receive, Refusal, Send, answer, require_json
from gateway.wire import read_body as read_bytes

_encode = msgspec.json.Encoder().encode
_random = random.random
_HEADERS = "X-Device-Token or X-API-Key"


class Heartbeats:
    """Answers heartbeats of one process."""

    def __init__(self, *, gatherer: Gatherer, pool: Pool) -> None:
        self._gatherer = gatherer
        self._pool = pool

    async def one(self, asked: Asked, receive: Receive, send: Send, device_id: str) -> None:
        """POST devices/{id}/heartbeat."""
        sender = self.admit(asked, device_id)
        raw = await read_bytes(asked, receive, limits.HEARTBEAT_BODY_BYTES)
        outcome = await self._gatherer.ask(sender, _beat(raw)[0])
        await answer(send, asked, self.told(sender, outcome))

    def admit(self, asked: Asked, device_id: str) -> Sender:
        """Return who sends, or refuse what can be refused without the body."""
        if not self._gatherer.has_room():
            raise refusals.overloaded()
        token, api_key = _credentials(asked)
        require_json(asked)
        return Sender(token, api_key, device_id, live=True)

    def put(self, sender: Sender, raw: bytes, tell: Tell) -> None:
        """Queue the heartbeat in a body, or refuse it; `tell` is called once it is stored."""
        self._gatherer.put(sender, _beat(raw)[0], tell)

    def told(self, sender: Sender, outcome: Outcome) -> bytes:
        """Return the body of the answer to a heartbeat, or refuse it."""
        if outcome.status != 200:
            raise _refusal(outcome.status, by_key=sender.token is None)
        return self._answer(outcome)

    async def status(self, asked: Asked, receive: Receive, send: Send) -> None:
        """POST telemetry/status: the device is the one the token belongs to."""
        if not self._gatherer.has_room():
            raise refusals.overloaded()
        if not asked.token:
            raise refusals.no_caller("X-Device-Token")
        require_json(asked)
        raw = await read_bytes(asked, receive, limits.HEARTBEAT_BODY_BYTES)
        beat, named = _beat(raw)
        sender = Sender(sha256(asked.token).digest(), None, named, live=True)
        outcome = await self._gatherer.ask(sender, beat)
        await answer(send, asked, self.told(sender, outcome))

    async def batch(self, asked: Asked, receive: Receive, send: Send) -> None:
        """POST telemetry/batch: each heartbeat is accepted or rejected for itself."""
        token, api_key = _credentials(asked)
        require_json(asked)
        raw = await read_bytes(asked, receive, limits.BODY_BYTES)
        items = _items(raw)
        own = await self._sender(token, api_key)
        if not self._gatherer.has_room(len(items)):
            raise refusals.overloaded()
        results: list[dict[str, Any]] = [{} for _ in items]
        put: list[tuple[int, asyncio.Future[Outcome]]] = []
        for index, beat, device_id in _in_order(items, results, own):
            sender = Sender(token, api_key, device_id, live=False)
            put.append((index, self._gatherer.ask(sender, beat)))
        for index, future in put:
            results[index] = _result(index, (await future).status)
        accepted = sum(result["status"] == "accepted" for result in results)
        body = {"accepted": accepted, "rejected": len(results) - accepted, "results": results}
        await answer(send, asked, _encode(body))

    async def _sender(self, token: bytes | None, api_key: bytes | None) -> str | None:
        """Return the device id of a token, or None for an API key that may send for all."""

        async def look(connection: Connection) -> tuple[Any, ...] | None:
            cursor = await connection.execute(statements.SENDER, [token, api_key], prepare=True)
            return await cursor.fetchone()

        try:
            found = await run(self._pool, look)
        except DatabaseAway:
            raise refusals.overloaded() from None
        if found is None:
            raise refusals.unknown_caller(by_key=token is None)
        if token is None and found[1] not in statements.SENDING_ROLES:
            raise refusals.forbidden()
        device_id: str | None = found[0]
        return device_id

    def _answer(self, outcome: Outcome) -> bytes:
        """Return the body; the pace is spread by a tenth, and slower while much is waiting."""
        load = self._gatherer.load
        stretch = 1.0 if load < 0.5 else 1.0 + load
        return b"%b%.1f}" % (outcome.head, outcome.interval_s * stretch * (0.9 + 0.2 * _random()))


def _credentials(asked: Asked) -> tuple[bytes | None, bytes | None]:
    """Return the SHA-256 of the device token or of the API key; the token counts if both came."""
    if asked.token:
        return sha256(asked.token).digest(), None
    if asked.api_key:
        return None, sha256(asked.api_key).digest()
    raise refusals.no_caller(_HEADERS)


def _beat(raw: bytes) -> tuple[Beat, str | None]:
    """Return the heartbeat of a body and the device id in it."""
    try:
        return read_beat(read_json(raw))
    except Unreadable as error:
        raise refusals.unreadable(str(error)) from None
    except Refused as error:
        raise refusals.invalid({error.field: [error.reason]}) from None


def _refusal(status: int, *, by_key: bool) -> Refusal:
    if status == 401:
        return refusals.unknown_caller(by_key=by_key)
    if status == 403:
        return refusals.forbidden()
    if status == 404:
        return refusals.not_found()
    return refusals.unstorable() if status == 422 else refusals.overloaded()


def _items(raw: bytes) -> list[Any]:
    try:
        value = read_json(raw)
    except Unreadable as error:
        raise refusals.unreadable(str(error)) from None
    items = value.get("heartbeats") if isinstance(value, dict) else None
    if not isinstance(items, list):
        raise refusals.invalid({"heartbeats": ["Send a list of heartbeats."]})
    if len(items) > limits.HEARTBEAT_BATCH:
        raise refusals.batch_limit()
    return items


def _in_order(
    items: list[Any], results: list[dict[str, Any]], own: str | None
) -> list[tuple[int, Beat, str | None]]:
    """Return the heartbeats that can be stored, oldest first; reject the others in `results`."""
    usable: list[tuple[int, Beat, str | None]] = []
    for index, item in enumerate(items):
        try:
            beat, named = read_beat(item)
        except Refused as error:
            results[index] = _result(index, 422, f"{error.field}: {error.reason}")
            continue
        device_id = named or own
        if device_id is None:
            results[index] = _result(index, 422, "device_id: Name the device.")
        elif own is not None and device_id != own:
            results[index] = _result(index, 404)
        else:
            usable.append((index, beat, device_id))
    usable.sort(key=lambda entry: (entry[1][TS] or 0, entry[1][SEQUENCE] or 0))
    return usable


_DETAILS = {
    401: "The credential is no longer valid.",
    403: "The device is retired.",
    404: "There is no such device.",
    422: "A value cannot be stored.",
    503: "The portal cannot take this at the moment. Send it again later.",
}


def _result(index: int, status: int, detail: str = "") -> dict[str, Any]:
    if status == 200:
        return {"index": index, "status": "accepted"}
    return {"index": index, "status": "rejected", "detail": detail or _DETAILS[status]}

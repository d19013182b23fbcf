"""Reading requests and answering them, straight on ASGI."""

import re
import secrets
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import msgspec

from common.api import PROBLEM_TYPE, problem

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
# Status, headers, body.
Answer = tuple[int, list[tuple[bytes, bytes]], bytes]

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}").fullmatch
_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", PROBLEM_TYPE.encode())
# Unique per process; counting on is far cheaper than drawing random bits per request.
_prefix = secrets.token_hex(8).encode()
_numbers = count()
_encode = msgspec.json.Encoder().encode


class Refusal(Exception):
    """A request that is answered with a problem document."""

    def __init__(self, status: int, code: str, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers: list[tuple[bytes, bytes]] = extra.pop("headers", [])
        self.extra = extra


class Asked:
    """The headers the gateway looks at."""

    __slots__ = ("api_key", "content_type", "length", "request_id", "token")

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        sent = dict(headers).get
        self.token = sent(b"x-device-token", b"")
        self.api_key = sent(b"x-api-key", b"")
        self.content_type = sent(b"content-type", b"")
        length = sent(b"content-length", b"")
        self.length = int(length) if length.isdigit() else 0
        asked = sent(b"x-request-id", b"")
        self.request_id = (
            asked if asked and _REQUEST_ID(asked) else b"%b-%x" % (_prefix, next(_numbers))
        )


async def read_body(asked: Asked, receive: Receive, cap: int) -> bytes:
    """Return the body, or refuse with 413 as soon as it is known to be over `cap` bytes."""
    if asked.length > cap:
        raise too_large(cap)
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        if len(body) > cap:
            raise too_large(cap)
        message = await receive()
        body += message.get("body", b"")
    if len(body) > cap:
        raise too_large(cap)
    return body


def too_large(cap: int) -> Refusal:
    return Refusal(413, "too_large", f"The body is over {cap} bytes. Send less at once.")


def require_json(asked: Asked) -> None:
    """Refuse a body that calls itself something other than JSON."""
    kind = asked.content_type
    if kind == b"application/json" or not kind:
        return
    if kind.partition(b";")[0].strip().lower() != b"application/json":
        raise Refusal(
            415,
            "unsupported_media_type",
            "Send the body as JSON with Content-Type application/json.",
        )


def success(asked: Asked, body: bytes) -> Answer:
    """Return a JSON answer with status 200."""
    length = b"%d" % len(body)
    headers = [_JSON, (b"content-length", length), (b"x-request-id", asked.request_id)]
    return 200, headers, body


def problem_of(asked: Asked, refusal: Refusal) -> Answer:
    """Return the problem document of a refusal."""
    body = _encode(
        problem(status=refusal.status, code=refusal.code, detail=refusal.detail, **refusal.extra)
    )
    headers = [
        _PROBLEM,
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", asked.request_id),
        *refusal.headers,
    ]
    return refusal.status, headers, body


async def answer(send: Send, asked: Asked, body: bytes) -> None:
    """Send a JSON answer with status 200."""
    await _send(send, success(asked, body))


async def refuse(send: Send, asked: Asked, refusal: Refusal) -> None:
    """Send a problem document."""
    await _send(send, problem_of(asked, refusal))


async def _send(send: Send, answer: Answer) -> None:
    status, headers, body = answer
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

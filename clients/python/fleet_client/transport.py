"""Between steps and the HTTP library: requests, bounded bodies, failures in plain words."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional, Union

from fleet_client.errors import AnswerUnusable, Unreachable, plain_text
from fleet_client.http import httpx
from fleet_client.steps import Answer, Send

# Of an answer that is held in memory.
MAX_ANSWER_BYTES = 64 * 1024 * 1024
EVENTS = "text/event-stream"
Verify = Union[bool, str, Path, ssl.SSLContext]
REASONS = {
    "refused": "connection refused; is the portal running and the port right?",
    "not known": "the host name is unknown; check the address and DNS",
    "name resolution": "the host name cannot be resolved; check DNS",
    "No address associated": "the host name is unknown; check the address and DNS",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted; give its CA file as `verify`",
    "Network is unreachable": "the network is unreachable",
}


def options(
    *, base_url: str, timeout: float, verify: Verify, transport: Optional[Any], agent: str
) -> Dict[str, Any]:
    """Return what both kinds of HTTP client are made of."""
    found: Dict[str, Any] = {
        "base_url": base_url,
        "timeout": httpx.Timeout(timeout, connect=min(timeout, 10.0)),
        "headers": {"User-Agent": agent},
        # The credential would go along to wherever the answer points.
        "follow_redirects": False,
    }
    if transport is not None:
        return {**found, "transport": transport}
    if isinstance(verify, (str, Path)):
        return {**found, "verify": ssl.create_default_context(cafile=str(verify))}
    return {**found, "verify": verify}


def request_of(step: Send, timeout: Any) -> Dict[str, Any]:
    """Return the arguments of the HTTP library for a step; `timeout` is the client's."""
    return {
        "method": step.method,
        "url": step.path,
        "params": list(step.params),
        "headers": dict(step.headers),
        "content": step.content,
        "timeout": _patience(step, timeout),
    }


def _patience(step: Send, timeout: Any) -> Any:
    if step.silence_s is None:
        return timeout
    others = {"connect": timeout.connect, "write": timeout.write, "pool": timeout.pool}
    return httpx.Timeout(read=step.silence_s, **others)


@dataclass(frozen=True)
class OpenBody:
    """A body that goes on: the library's answer, and its pieces as they come."""

    response: Any
    pieces: Any


def opened_by(outcome: Any) -> Optional[OpenBody]:
    """Return the body that a step left open, if it did."""
    body: Optional[OpenBody] = outcome.body if isinstance(outcome, Answer) else None
    return body


class Body:
    """Takes the pieces of one answer's body: to the sink of a success, else into memory."""

    def __init__(self, step: Send, response: Any) -> None:
        self._status: int = response.status_code
        self._headers = {name.lower(): value for name, value in response.headers.items()}
        self._kept = bytearray()
        self.sink = step.sink if response.is_success else None
        # A page that came instead of the stream is read to its end like every other answer.
        is_stream = self._headers.get("content-type", "").startswith(EVENTS)
        self.stays_open = step.silence_s is not None and response.is_success and is_stream
        if self.sink:
            self.sink.begin(self._status, self._headers)

    def take(self, chunk: bytes) -> None:
        """Take one piece; AnswerUnusable when there are too many."""
        if self.sink:
            self.sink.write(chunk)
            return
        self._kept += chunk
        if len(self._kept) > MAX_ANSWER_BYTES:
            raise AnswerUnusable(f"The answer is over {MAX_ANSWER_BYTES // 2**20} MiB.")

    def answer(self, rest: Optional[OpenBody] = None) -> Answer:
        """Return the whole, or what it is the beginning of."""
        return Answer(self._status, self._headers, bytes(self._kept), rest)


def unreachable(base_url: str, error: Exception, body: Optional[Body]) -> Unreachable:
    """Return the failure in words that hold neither headers nor bodies."""
    text = _chain(error)
    found = Unreachable(f"No answer from {base_url}: {_reason(error, text)}.")
    found.was_sent = not isinstance(
        error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
    )
    found.is_passing = "CERTIFICATE_VERIFY_FAILED" not in text and not isinstance(
        error, (httpx.UnsupportedProtocol, httpx.DecodingError)
    )
    found.is_cut = body is not None and body.sink is not None
    return found


def _reason(error: Exception, text: str) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "it did not answer in time"
    for sign, reason in REASONS.items():
        if sign in text:
            return reason
    return plain_text(f"{type(error).__name__}: {error}").rstrip(".")


def _chain(error: Optional[BaseException]) -> str:
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__ or error.__context__
    return " ".join(texts)

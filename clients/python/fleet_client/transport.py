"""Between steps and the HTTP library: requests, bounded bodies, failures in plain words."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Dict, Optional, Union

from fleet_client.errors import AnswerUnusable, Unreachable, plain_text
from fleet_client.http import httpx
from fleet_client.steps import Answer, Send

# Of an answer that is held in memory.
MAX_ANSWER_BYTES = 64 * 1024 * 1024
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


def request_of(step: Send) -> Dict[str, Any]:
    """Return the arguments of the HTTP library for a step."""
    return {
        "method": step.method,
        "url": step.path,
        "params": list(step.params),
        "headers": dict(step.headers),
        "content": step.content,
    }


class Body:
    """Takes the pieces of one answer's body: to the sink of a success, else into memory."""

    def __init__(self, step: Send, response: Any) -> None:
        self._status: int = response.status_code
        self._headers = {name.lower(): value for name, value in response.headers.items()}
        self._kept = bytearray()
        self.sink = step.sink if response.is_success else None
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

    def answer(self) -> Answer:
        """Return the whole."""
        return Answer(self._status, self._headers, bytes(self._kept))


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

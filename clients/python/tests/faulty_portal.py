"""A portal that answers what a test tells it to, and breaks where it is told to."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union
from urllib.parse import parse_qs, urlsplit

ACCESS, REFRESH, PASSWORD, API_KEY = "access-one", "refresh-one", "a-long-password", "fk_secret"


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    query: Mapping[str, List[str]]
    headers: Mapping[str, str]
    body: Any

    @property
    def key(self) -> Optional[str]:
        return self.headers.get("idempotency-key")


@dataclass(frozen=True)
class Reply:
    """An answer. `cut_after`: so many bytes of the body, then the connection ends; 0: no answer.

    A body that is an iterator goes out piece by piece, and is closed when the reader hangs up.
    """

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: Optional[int] = None


Answering = Union[Reply, Callable[[Seen], Reply]]


def problem(status: int, code: str = "", detail: str = "", **members: Any) -> Reply:
    headers = members.pop("headers", {})
    body = {"status": status, "code": code, "detail": detail, **members}
    return Reply(body, status, {"Content-Type": "application/problem+json", **headers})


class FaultyPortal:
    """Listens on a port of its own. The last answer for a path is given again and again."""

    def __init__(self) -> None:
        self.seen: List[Seen] = []
        self._answers: Dict[Tuple[str, str], List[Answering]] = defaultdict(list)
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"portal": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def on(self, method: str, path: str, *answers: Answering) -> None:
        """Say what comes back, one after the other."""
        self._answers[method, f"/api/v1{path}"] = list(answers)

    def asked(self, path: str) -> List[Seen]:
        return [request for request in self.seen if request.path == f"/api/v1{path}"]

    def reply_to(self, request: Seen) -> Reply:
        with self._lock:
            self.seen.append(request)
            waiting = self._answers[request.method, request.path]
            if not waiting:
                return problem(404, "not_found", "Nothing is here.")
            answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return answer if isinstance(answer, Reply) else answer(request)


def _read(sent: bytes, headers: Mapping[str, str]) -> Any:
    is_raw = headers.get("content-type") == "application/octet-stream"
    return sent if is_raw or not sent else json.loads(sent)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    portal: FaultyPortal

    def _serve(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(
            self.command,
            parts.path,
            parse_qs(parts.query, keep_blank_values=True),
            headers,
            _read(sent, headers),
        )
        reply = self.portal.reply_to(seen)
        if reply.cut_after == 0:
            self.close_connection = True
            return
        if isinstance(reply.body, Iterator):
            self._stream(reply)
            return
        is_raw = isinstance(reply.body, bytes)
        body = reply.body if is_raw else json.dumps(reply.body).encode()
        kind = {} if is_raw else {"Content-Type": "application/json"}
        self.send_response(reply.status)
        for name, value in {**kind, "Content-Length": str(len(body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if reply.cut_after is None else body[: reply.cut_after])
        self.close_connection = reply.cut_after is not None

    def _stream(self, reply: Reply) -> None:
        self.close_connection = True
        self.send_response(reply.status)
        for name, value in {"Connection": "close", **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with closing(reply.body), suppress(ConnectionError):
            for piece in reply.body:
                self.wfile.write(piece)

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve  # noqa: N815

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""

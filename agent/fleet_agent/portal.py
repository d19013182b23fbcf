"""Requests to the portal: one door, so that timeouts, sizes and errors are the same everywhere."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Optional
from urllib.parse import quote

import requests
from urllib3.exceptions import HTTPError

from fleet_agent import __version__
from fleet_agent.errors import PortalError
from fleet_agent.pace import retry_after_s
from fleet_agent.redaction import plain_text
from fleet_agent.settings import ConfigStore, Settings

PREFIX = "/api/v1"
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_DETAIL_BYTES = 600
CURRENT_TOKEN = object()


class PortalClient:
    """A connection to the portal with the token of the moment. One per thread."""

    def __init__(self, store: ConfigStore) -> None:
        self._store = store
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"fleet-agent/{__version__}"

    def close(self) -> None:
        self._session.close()

    def device_path(self, rest: str) -> str:
        return f"/devices/{quote(self._store.settings.device_id or '', safe='')}/{rest}"

    def address(self, path: str) -> str:
        """Return the whole address of a path of the API."""
        return f"{self._store.settings.fleet_url}{PREFIX}{path}"

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Optional[dict[str, int]] = None,
        headers: Optional[dict[str, str]] = None,
        token: object = CURRENT_TOKEN,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> dict[str, Any]:
        """Send one request and return the JSON object of a 2xx answer; empty for a 204.

        `body` is a dict for JSON, anything else is sent as it is. `token` replaces the device
        token of the settings; None sends none. Raises PortalError for everything else.
        """
        settings = self._store.settings
        secret = settings.device_token if token is CURRENT_TOKEN else token
        sent = dict(headers or {})
        if secret:
            sent["X-Device-Token"] = str(secret)
        try:
            with self._session.request(
                method,
                self.address(path),
                params=params,
                headers=sent,
                json=body if isinstance(body, dict) else None,
                data=None if isinstance(body, dict) else body,
                timeout=(CONNECT_TIMEOUT_S, read_timeout_s),
                verify=settings.ca_file or True,
                # requests would carry the token header along to another host.
                allow_redirects=False,
                stream=True,
            ) as response:
                content = _bounded(response, seconds=read_timeout_s)
        except (requests.RequestException, OSError) as error:
            raise PortalError(_no_answer(settings, error)) from None
        return _checked(response.status_code, response.headers, content)

    def pieces(self, path: str, *, seconds: float) -> Iterator[bytes]:
        """Give the bytes of a file as they come; a silence of READ_TIMEOUT_S or `seconds` ends it.

        Whoever asks counts bytes and time between the pieces. Raises PortalError.
        """
        settings = self._store.settings
        try:
            with self._session.get(
                self.address(path),
                headers={
                    "X-Device-Token": str(settings.device_token or ""),
                    # Compression would let a few bytes unfold into many.
                    "Accept-Encoding": "identity",
                },
                timeout=(CONNECT_TIMEOUT_S, min(READ_TIMEOUT_S, seconds)),
                verify=settings.ca_file or True,
                allow_redirects=False,
                stream=True,
            ) as response:
                if response.status_code != 200:
                    content = _bounded(response, seconds=READ_TIMEOUT_S)
                    _checked(response.status_code, response.headers, content)
                    raise PortalError("The portal's answer holds no file.")
                yield from _arriving(response)
        except (requests.RequestException, OSError) as error:
            raise PortalError(_no_answer(settings, error)) from None

    @contextmanager
    def events(self, path: str, *, read_timeout_s: float) -> Iterator[Iterator[bytes]]:
        """Open a stream of server-sent events and give its bytes as they come.

        Raises PortalError when there is none, or when nothing comes for `read_timeout_s`.
        """
        settings = self._store.settings
        try:
            with self._session.get(
                self.address(path),
                headers={
                    "X-Device-Token": str(settings.device_token or ""),
                    "Accept": "text/event-stream",
                    # Compression would hold events back until a block is full.
                    "Accept-Encoding": "identity",
                },
                timeout=(CONNECT_TIMEOUT_S, read_timeout_s),
                verify=settings.ca_file or True,
                allow_redirects=False,
                stream=True,
            ) as response:
                if response.status_code != 200:
                    content = _bounded(response, seconds=READ_TIMEOUT_S)
                    _checked(response.status_code, response.headers, content)
                if "text/event-stream" not in response.headers.get("Content-Type", ""):
                    raise PortalError("The portal has no stream of events.", status=501)
                yield response.iter_content(1)
        except (requests.RequestException, OSError) as error:
            raise PortalError(_no_answer(settings, error)) from None

    @contextmanager
    def file(
        self, url: str, *, headers: dict[str, str], read_timeout_s: float
    ) -> Iterator[tuple[requests.Response, Iterator[bytes]]]:
        """Open a file that a link names, in part when `headers` ask for it; 200 or 206.

        Gives the answer and its bytes as they come. The link alone opens it: no token goes along,
        as it may lead to another host. Raises PortalError, while the file is read too.
        """
        settings = self._store.settings
        if url.startswith("/"):
            url = f"{settings.fleet_url}{url}"
        if not url.startswith(("http://", "https://")):
            raise PortalError("The link to a file is neither http nor https.", status=400)
        try:
            with self._session.get(
                url,
                # Compression would count other bytes than the file has.
                headers={"Accept-Encoding": "identity", **headers},
                timeout=(CONNECT_TIMEOUT_S, read_timeout_s),
                verify=settings.ca_file or True,
                allow_redirects=False,
                stream=True,
            ) as response:
                if response.status_code not in (200, 206):
                    content = _bounded(response, seconds=READ_TIMEOUT_S)
                    _checked(response.status_code, response.headers, content)
                    raise PortalError(f"A link to a file answered {response.status_code}.")
                yield response, _arriving(response)
        except requests.RequestException as error:
            raise PortalError(_no_answer(settings, error)) from None


def is_reachable(settings: Settings) -> tuple[bool, str]:
    """Ask the portal's health page within 3 seconds; return the answer and a sentence."""
    if not settings.fleet_url:
        return False, "FLEET_URL is not set."
    try:
        response = requests.get(
            f"{settings.fleet_url}/health",
            timeout=3,
            verify=settings.ca_file or True,
            allow_redirects=False,
        )
    except (requests.RequestException, OSError) as error:
        return False, _no_answer(settings, error)
    return response.status_code < 500, f"{settings.fleet_url} answered {response.status_code}."


def _arriving(response: requests.Response) -> Iterator[bytes]:
    """Give what has arrived, at most 64 KiB at once, without waiting for more of it."""
    read_some = getattr(response.raw, "read1", None)
    if read_some is None:
        # An older urllib3 waits until a piece is full: small ones keep the wait short.
        yield from response.iter_content(256)
        return
    try:
        while True:
            piece = read_some(65536, decode_content=False)
            if not piece:
                return
            yield piece
    except HTTPError as error:
        raise requests.exceptions.ConnectionError(error) from error


def _bounded(response: requests.Response, *, seconds: float) -> bytes:
    # A read timeout counts per packet; a server that drips would hold the thread for ever.
    deadline = time.monotonic() + seconds
    content = bytearray()
    for chunk in response.iter_content(65536):
        content += chunk
        if len(content) > MAX_ANSWER_BYTES or time.monotonic() > deadline:
            raise requests.exceptions.ContentDecodingError("The answer was too long or too slow.")
    return bytes(content)


def _checked(status: int, headers: Mapping[str, str], content: bytes) -> dict[str, Any]:
    if status == 204:
        return {}
    answer = _json_object(content)
    if 200 <= status < 300 and answer is not None:
        return answer
    if 200 <= status < 300:
        raise PortalError(
            f"The portal's answer ({status}) is not JSON. Is a log-in page in between?"
        )
    if 300 <= status < 400:
        target = plain_text(headers.get("Location", "nowhere"), max_bytes=MAX_DETAIL_BYTES)
        raise PortalError(
            f"The portal redirects to {target}. Put its final address into FLEET_URL."
        )
    answer = answer or {}
    detail = plain_text(str(answer.get("detail") or ""), max_bytes=MAX_DETAIL_BYTES)
    raise PortalError(
        f"{status}: {detail or 'no reason given'}",
        status=status,
        code=str(answer.get("code") or ""),
        detail=detail,
        retry_after_s=retry_after_s(headers.get("Retry-After")),
        answer=answer,
    )


def _json_object(content: bytes) -> Optional[dict[str, Any]]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _no_answer(settings: Settings, error: Exception) -> str:
    text = str(error)
    reasons = {
        "Connection refused": "connection refused; check that the portal runs and its port",
        "Name or service not known": "the host name is unknown; check FLEET_URL and DNS",
        "Temporary failure in name resolution": "the host name cannot be resolved; check DNS",
        "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted; set CA_FILE",
        "timed out": "it did not answer in time",
        "Network is unreachable": "the network is unreachable",
    }
    for sign, reason in reasons.items():
        if sign in text:
            return f"No answer from {settings.fleet_url}: {reason}."
    shown = plain_text(f"{type(error).__name__}: {text}", max_bytes=300)
    return f"No answer from {settings.fleet_url}: {shown}"

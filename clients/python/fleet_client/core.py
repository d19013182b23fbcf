"""Requests, answers, retries and sign-in: what both clients do alike, without input or output."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Dict, List, Optional, Tuple, Type, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

from fleet_client.credentials import Credentials, Tokens, not_signed_in
from fleet_client.errors import (
    AnswerUnusable,
    NotSignedIn,
    Refused,
    Unreachable,
    error_of,
    retry_after_s,
)
from fleet_client.records import Page, Record
from fleet_client.retry import Retries, is_worth_again, is_worth_reconnecting
from fleet_client.steps import Alone, Answer, Flow, Item, Items, Pause, Send, Sink

PREFIX = "/api/v1"
ACTING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
R = TypeVar("R", bound=Record)


class Core:
    """Builds requests and judges answers for one portal and one caller."""

    def __init__(
        self,
        *,
        base_url: str,
        credentials: Credentials,
        organization: Optional[str],
        retries: Retries,
    ) -> None:
        self.base_url = portal_address(base_url)
        self.retries = retries
        self._credentials = credentials
        self._organization = organization

    # --- one request ---

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Optional[Mapping[str, Any]] = None,
        body: Any = None,
        key: Optional[str] = None,
        headers: Optional[Mapping[str, str]] = None,
        content: Optional[bytes] = None,
        sink: Optional[Sink] = None,
    ) -> Flow[Answer]:
        """Send as the caller, and again where that helps; return the answer of a success.

        A request that acts carries `key`, or one made here, and every repetition carries the same.
        The body is JSON, or bytes when `content` is given.
        """
        sent: Dict[str, str] = {**self._common_headers(), **(headers or {})}
        if method in ACTING:
            sent["Idempotency-Key"] = key or str(uuid.uuid4())
        if content is not None:
            sent["Content-Type"] = "application/octet-stream"
        if body is not None:
            content = json.dumps(body, default=_wire_value).encode()
            sent["Content-Type"] = "application/json"
        request = Send(method, PREFIX + path, wire_params(params or {}), sent, content, sink)
        answer = yield from self._as_caller(request)
        return _checked(answer)

    def read(
        self,
        record: Type[R],
        method: str,
        path: str,
        *,
        params: Optional[Mapping[str, Any]] = None,
        body: Any = None,
        key: Optional[str] = None,
        headers: Optional[Mapping[str, str]] = None,
        content: Optional[bytes] = None,
    ) -> Flow[R]:
        """Ask, and return the answer as a record."""
        answer = yield from self.ask(
            method, path, params=params, body=body, key=key, headers=headers, content=content
        )
        return record.read(json_of(answer))

    def open(
        self, path: str, *, params: Mapping[str, Any], last_id: str, silence_s: float
    ) -> Flow[Answer]:
        """Ask once for a stream of events; its body goes on for as long as it is read."""
        sent = {**self._common_headers(), "Accept": "text/event-stream"}
        # What is compressed comes late.
        sent["Accept-Encoding"] = "identity"
        if last_id:
            sent["Last-Event-ID"] = last_id
        request = Send("GET", PREFIX + path, wire_params(params), sent, silence_s=silence_s)
        answer = _checked((yield from self._as_caller(request)))
        if answer.body is None:
            raise AnswerUnusable(f"The portal's answer to {path} is no stream of events.")
        return answer

    def page(
        self, record: Type[R], path: str, *, params: Optional[Mapping[str, Any]] = None
    ) -> Flow[Page[R]]:
        """Ask for one page of a list."""
        answer = yield from self.ask("GET", path, params=params)
        return Page.of(record, json_of(answer))

    def pages(
        self, record: Type[R], path: str, *, params: Optional[Mapping[str, Any]] = None
    ) -> Items[R]:
        """Hand out every row of a list, page by page, by number or by cursor."""
        wanted: Mapping[str, Any] = params or {}
        while True:
            page = yield from self.page(record, path, params=wanted)
            for row in page.items:
                yield Item(row)
            if not page.next:
                return
            # Only the query is taken over: the link's host is none to send a credential to.
            following = _query_of(page.next)
            if following == wanted:
                raise AnswerUnusable(f"The list {path} names the same page as its next one.")
            wanted = following

    def sign_in(self) -> Flow[Tokens]:
        """Trade e-mail and password for a pair of tokens, and keep it."""
        tokens = yield from self._trade("/auth/token", self._password())
        self._credentials.store.save(tokens)
        return tokens

    # --- the caller ---

    def _common_headers(self) -> Dict[str, str]:
        headers = {"Accept": "application/json"}
        if self._organization:
            headers["X-Organization"] = self._organization
        return headers

    def _as_caller(self, request: Send) -> Flow[Answer]:
        if self._credentials.api_key:
            answer = yield from self._tried(_with(request, "X-API-Key", self._credentials.api_key))
            return answer
        tokens = self._credentials.store.load()
        if tokens is None or not tokens.is_fresh:
            tokens = yield Alone(self._renewed(tokens))
        answer = yield from self._tried(_bearing(request, tokens))
        if answer.status == 401 and self._can_renew(tokens):
            tokens = yield Alone(self._renewed(tokens))
            answer = yield from self._tried(_bearing(request, tokens))
        return answer

    def _can_renew(self, tokens: Tokens) -> bool:
        return bool(tokens.refresh or self._credentials.password)

    def _renewed(self, stale: Optional[Tokens]) -> Flow[Tokens]:
        """Return a pair newer than `stale`, by the refresh token or else by the password."""
        store = self._credentials.store
        with store.lock():
            newest = store.load()
            # Somebody else was faster; a refresh token used twice would end every token.
            if newest is not None and (stale is None or newest.access != stale.access):
                return newest
            if newest is not None and newest.refresh:
                try:
                    tokens = yield from self._trade("/auth/refresh", {"refresh": newest.refresh})
                except Refused:
                    if not self._credentials.password:
                        raise
                else:
                    store.save(tokens)
                    return tokens
            if not self._credentials.password:
                raise _signed_out(newest)
            tokens = yield from self.sign_in()
            return tokens

    def _password(self) -> Dict[str, str]:
        named = {"email": self._credentials.email, "password": self._credentials.password}
        return {**named, "totp": self._credentials.totp} if self._credentials.totp else named

    def _trade(self, path: str, body: Mapping[str, str]) -> Flow[Tokens]:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        request = Send("POST", PREFIX + path, (), headers, json.dumps(body).encode())
        # Reporters of errors show the variables of each frame.
        del body
        answer = _checked((yield from self._tried(request, is_repeatable=False)))
        tokens = _tokens_of(answer)
        if tokens is None:
            raise AnswerUnusable("The portal's answer to a sign-in holds no tokens.")
        return tokens

    # --- again ---

    def _tried(self, request: Send, *, is_repeatable: bool = True) -> Flow[Answer]:
        """Send until the answer is worth having; return it whatever its status."""
        if request.silence_s is not None:
            # Who listens has another way to go on.
            once: Answer = yield request
            return once
        waited = 0.0
        attempt = 0
        while True:
            attempt += 1
            try:
                answer: Answer = yield request
            except Unreachable as error:
                again = is_worth_reconnecting(error, is_repeatable=is_repeatable)
                pause = self._pause(attempt, waited, None) if again else None
                if pause is None:
                    raise
            else:
                again = is_worth_again(answer.status, answer.headers, is_repeatable=is_repeatable)
                asked = retry_after_s(answer.headers)
                pause = self._pause(attempt, waited, asked) if again else None
                if pause is None:
                    return answer
            yield Pause(pause)
            waited += pause

    def _pause(self, attempt: int, waited_s: float, asked_s: Optional[float]) -> Optional[float]:
        return self.retries.pause_s(attempt=attempt, waited_s=waited_s, asked_s=asked_s)


def portal_address(base_url: str) -> str:
    """Return scheme, host and path of the portal; ValueError for what is none."""
    parts = urlsplit(base_url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("base_url is the portal's address, such as https://portal.example.org.")
    if parts.username or parts.password:
        raise ValueError("base_url holds a name or a password; give credentials by themselves.")
    path = parts.path.rstrip("/")
    path = path[: -len(PREFIX)] if path.endswith(PREFIX) else path
    return f"{parts.scheme}://{parts.netloc}{path}"


def segment(value: object) -> str:
    """Return a value as one part of a path; ValueError for what would name another path."""
    text = str(value)
    if text in {"", ".", ".."}:
        raise ValueError(f"{text!r} is no name or id.")
    return quote(text, safe="")


def json_of(answer: Answer) -> Any:
    """Return the answer's JSON; AnswerUnusable for anything else."""
    try:
        return json.loads(answer.content)
    except (ValueError, RecursionError):
        raise AnswerUnusable(
            f"The portal's answer ({answer.status}) is not JSON. Is a log-in page in between?",
            status=answer.status,
        ) from None


def wire_params(params: Mapping[str, Any]) -> Tuple[Tuple[str, str], ...]:
    """Return a query: None is left out, a list repeats its name, moments are RFC 3339."""
    found: List[Tuple[str, str]] = []
    for name, value in params.items():
        several = isinstance(value, Iterable) and not isinstance(value, (str, bytes))
        values = value if several else [value]
        found += [(name, _wire_text(one)) for one in values if one is not None]
    return tuple(found)


def given(**members: Any) -> Dict[str, Any]:
    """Return the members that are not None: what the caller did not say is not sent."""
    return {name: value for name, value in members.items() if value is not None}


def _wire_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(_wire_value(value)) if isinstance(value, (datetime, date)) else str(value)


def _wire_value(value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("A moment needs a time zone: datetime.now(timezone.utc).")
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON.")


def _query_of(link: str) -> Dict[str, Any]:
    query: Dict[str, Any] = {}
    for name, value in parse_qsl(urlsplit(link).query, keep_blank_values=True):
        query.setdefault(name, []).append(value)
    return query


def _with(request: Send, name: str, value: str) -> Send:
    return replace(request, headers={**request.headers, name: value})


def _bearing(request: Send, tokens: Tokens) -> Send:
    return _with(request, "Authorization", f"Bearer {tokens.access}")


def _checked(answer: Answer) -> Answer:
    if 200 <= answer.status < 300:
        return answer
    raise error_of(answer.status, answer.headers, answer.content)


def _tokens_of(answer: Answer) -> Optional[Tokens]:
    pair = json_of(answer)
    try:
        expires_at = time.time() + float(pair["expires_in"])
        return Tokens(str(pair["access"]), str(pair["refresh"]), expires_at)
    except (KeyError, TypeError, ValueError):
        return None


def _signed_out(tokens: Optional[Tokens]) -> NotSignedIn:
    if tokens is None:
        return not_signed_in()
    return NotSignedIn("The access token has ended and there is none to renew it; sign in again.")

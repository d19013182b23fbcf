"""The two clients: the same endpoints, blocking or awaited."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Optional, Type, TypeVar

import anyio

from fleet_client import groups, transport
from fleet_client.core import Core
from fleet_client.credentials import TokenStore, credentials_of
from fleet_client.errors import FleetError
from fleet_client.http import httpx
from fleet_client.retry import Retries
from fleet_client.steps import Alone, Answer, Flow, Item, Items, More, Send, Step, advance
from fleet_client.transport import (
    Body,
    OpenBody,
    Verify,
    opened_by,
    request_of,
    unreachable,
)
from fleet_client.version import __version__

T = TypeVar("T")
TIMEOUT_S = 30.0
AGENT = f"fleet-client/{__version__}"


class _Client:
    """What the two have in common: how they are made.

    Give one credential: `api_key`; `email` with `password` (and `totp` where the account has an
    authenticator app); `token`, an access token, with `refresh_token` where it shall be renewed;
    or `token_store`, which keeps a pair between processes. `organization` is a slug, for people in
    several. `timeout` is in seconds, for each connect, read and write. `verify` is True, a file
    with the certificate authority, or an SSL context. `http_transport` is one of the HTTP library.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: Optional[str] = None,
        email: Optional[str] = None,
        password: Optional[str] = None,
        totp: Optional[str] = None,
        token: Optional[str] = None,
        refresh_token: Optional[str] = None,
        token_store: Optional[TokenStore] = None,
        organization: Optional[str] = None,
        timeout: float = TIMEOUT_S,
        retries: Retries = Retries(),  # noqa: B008 - it cannot change
        verify: Verify = True,
        http_transport: Optional[Any] = None,
    ) -> None:
        credentials = credentials_of(
            api_key=api_key,
            email=email,
            password=password,
            totp=totp,
            token=token,
            refresh_token=refresh_token,
            store=token_store,
        )
        self.core = Core(
            base_url=base_url, credentials=credentials, organization=organization, retries=retries
        )
        self._options = transport.options(
            base_url=self.core.base_url,
            timeout=timeout,
            verify=verify,
            transport=http_transport,
            agent=AGENT,
        )
        self._connect()

    def _connect(self) -> None:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.core.base_url}>"


class FleetClient(_Client):
    """Speaks to a portal while the caller waits. Threads may share it."""

    def _connect(self) -> None:
        self._http = httpx.Client(**self._options)
        self._alone = threading.Lock()
        self.service = groups.Service(self)
        self.devices = groups.Devices(self)
        self.commands = groups.Commands(self)
        self.batches = groups.Batches(self)
        self.bundles = groups.Bundles(self)
        self.releases = groups.Releases(self)
        self.rollouts = groups.Rollouts(self)
        self.updates = groups.Updates(self)
        self.scripts = groups.Scripts(self)
        self.templates = groups.Templates(self)
        self.audits = groups.Audits(self)
        self.enrollment_tokens = groups.EnrollmentTokens(self)
        self.api_keys = groups.ApiKeys(self)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> FleetClient:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def run(self, flow: Flow[T]) -> T:
        """Carry out a flow's steps; return its result."""
        try:
            step = next(flow)
            while True:
                step = advance(flow, self._outcome(step))
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            flow.close()

    def iterate(self, items: Items[T]) -> Iterator[T]:
        """Carry out a flow's steps as far as the caller iterates; give its items."""
        opened: Optional[OpenBody] = None
        try:
            step = next(items)
            while True:
                if isinstance(step, Item):
                    yield step.value
                    step = next(items)
                else:
                    outcome = self._outcome(step)
                    opened = self._only(opened, opened_by(outcome))
                    step = advance(items, outcome)
        except StopIteration:
            return
        finally:
            items.close()
            if opened:
                opened.response.close()

    def _outcome(self, step: Step) -> Any:
        try:
            if isinstance(step, Send):
                return self._send(step)
            if isinstance(step, More):
                return self._more(step.body)
            if isinstance(step, Alone):
                with self._alone:
                    return self.run(step.flow)
        except FleetError as error:
            return error
        return time.sleep(step.seconds)

    def _send(self, step: Send) -> Answer:
        body: Optional[Body] = None
        try:
            request = self._http.build_request(**request_of(step, self._http.timeout))
            response = self._http.send(request, stream=True)
            body = Body(step, response)
            if body.stays_open:
                return body.answer(OpenBody(response, response.iter_bytes()))
            try:
                for chunk in response.iter_bytes():
                    body.take(chunk)
            finally:
                response.close()
        except (httpx.TransportError, httpx.DecodingError) as error:
            failure = unreachable(self.core.base_url, error, body)
        else:
            return body.answer()
        # Outside of the handler: the library's error holds the request with its headers.
        raise failure

    def _only(self, before: Optional[OpenBody], newer: Optional[OpenBody]) -> Optional[OpenBody]:
        if before and newer:
            before.response.close()
        return newer or before

    def _more(self, body: OpenBody) -> bytes:
        try:
            return next(body.pieces, b"")
        except (httpx.TransportError, httpx.DecodingError) as error:
            failure = unreachable(self.core.base_url, error, None)
        body.response.close()
        raise failure


class AsyncFleetClient(_Client):
    """Speaks to a portal in coroutines, under asyncio or trio."""

    def _connect(self) -> None:
        self._http = httpx.AsyncClient(**self._options)
        self._alone = anyio.Lock()
        self.service = groups.AsyncService(self)
        self.devices = groups.AsyncDevices(self)
        self.commands = groups.AsyncCommands(self)
        self.batches = groups.AsyncBatches(self)
        self.bundles = groups.AsyncBundles(self)
        self.releases = groups.AsyncReleases(self)
        self.rollouts = groups.AsyncRollouts(self)
        self.updates = groups.AsyncUpdates(self)
        self.scripts = groups.AsyncScripts(self)
        self.templates = groups.AsyncTemplates(self)
        self.audits = groups.AsyncAudits(self)
        self.enrollment_tokens = groups.AsyncEnrollmentTokens(self)
        self.api_keys = groups.AsyncApiKeys(self)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncFleetClient:
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self.aclose()

    async def run(self, flow: Flow[T]) -> T:
        """Carry out a flow's steps; return its result."""
        try:
            step = next(flow)
            while True:
                step = advance(flow, await self._outcome(step))
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            flow.close()

    async def iterate(self, items: Items[T]) -> AsyncIterator[T]:
        """Carry out a flow's steps as far as the caller iterates; give its items."""
        opened: Optional[OpenBody] = None
        try:
            step = next(items)
            while True:
                if isinstance(step, Item):
                    yield step.value
                    step = next(items)
                else:
                    outcome = await self._outcome(step)
                    opened = await self._only(opened, opened_by(outcome))
                    step = advance(items, outcome)
        except StopIteration:
            return
        finally:
            items.close()
            if opened:
                await opened.response.aclose()

    async def _outcome(self, step: Step) -> Any:
        try:
            if isinstance(step, Send):
                return await self._send(step)
            if isinstance(step, More):
                return await self._more(step.body)
            if isinstance(step, Alone):
                async with self._alone:
                    return await self.run(step.flow)
        except FleetError as error:
            return error
        return await anyio.sleep(step.seconds)

    async def _send(self, step: Send) -> Answer:
        body: Optional[Body] = None
        try:
            request = self._http.build_request(**request_of(step, self._http.timeout))
            response = await self._http.send(request, stream=True)
            body = Body(step, response)
            if body.stays_open:
                return body.answer(OpenBody(response, response.aiter_bytes()))
            try:
                async for chunk in response.aiter_bytes():
                    body.take(chunk)
            finally:
                await response.aclose()
        except (httpx.TransportError, httpx.DecodingError) as error:
            failure = unreachable(self.core.base_url, error, body)
        else:
            return body.answer()
        # Outside of the handler: the library's error holds the request with its headers.
        raise failure

    async def _only(
        self, before: Optional[OpenBody], newer: Optional[OpenBody]
    ) -> Optional[OpenBody]:
        if before and newer:
            await before.response.aclose()
        return newer or before

    async def _more(self, body: OpenBody) -> bytes:
        try:
            piece: bytes = await body.pieces.__anext__()
        except StopAsyncIteration:
            return b""
        except (httpx.TransportError, httpx.DecodingError) as error:
            failure = unreachable(self.core.base_url, error, None)
        else:
            return piece
        await body.response.aclose()
        raise failure

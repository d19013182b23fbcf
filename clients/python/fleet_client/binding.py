"""Endpoints are written once; where they hang decides whether they block or are awaited."""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Generic, Protocol, TypeVar, Union, overload

from fleet_client.core import Core
from fleet_client.steps import Flow, Items

if sys.version_info >= (3, 10):
    from typing import Concatenate, ParamSpec
else:
    from typing_extensions import Concatenate, ParamSpec

P = ParamSpec("P")
T = TypeVar("T")


class Blocking(Protocol):
    """Runs flows while the caller waits."""

    core: Core

    def run(self, flow: Flow[T]) -> T:
        """Run to the end; return the result."""

    def iterate(self, items: Items[T]) -> Iterator[T]:
        """Run as far as the caller iterates."""


class Awaiting(Protocol):
    """Runs flows in coroutines."""

    core: Core

    async def run(self, flow: Flow[T]) -> T:
        """Run to the end; return the result."""

    def iterate(self, items: Items[T]) -> AsyncIterator[T]:
        """Run as far as the caller iterates."""


class Group:
    """A set of endpoints of a client."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.core: Core = client.core


class BlockingGroup(Group):
    """Its endpoints return results."""

    _client: Blocking


class AwaitingGroup(Group):
    """Its endpoints are awaited."""

    _client: Awaiting


class endpoint(Generic[P, T]):  # noqa: N801 - a decorator
    """Make a method that builds a flow into one that runs it."""

    def __init__(self, build: Callable[Concatenate[Any, P], Flow[T]]) -> None:
        self.__doc__ = build.__doc__
        self._build = build

    @overload
    def __get__(self, group: None, owner: type) -> endpoint[P, T]: ...

    @overload
    def __get__(self, group: BlockingGroup, owner: type) -> Callable[P, T]: ...

    @overload
    def __get__(self, group: AwaitingGroup, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...

    def __get__(self, group: Union[BlockingGroup, AwaitingGroup, None], owner: type) -> Any:
        if group is None:
            return self
        client = group._client  # noqa: SLF001 - the group is this module's

        @functools.wraps(self._build)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.run(self._build(group, *args, **kwargs))

        return call


class listing(Generic[P, T]):  # noqa: N801 - a decorator
    """Make a method that builds a flow of items into an iterator, blocking or asynchronous."""

    def __init__(self, build: Callable[Concatenate[Any, P], Items[T]]) -> None:
        self.__doc__ = build.__doc__
        self._build = build

    @overload
    def __get__(self, group: None, owner: type) -> listing[P, T]: ...

    @overload
    def __get__(self, group: BlockingGroup, owner: type) -> Callable[P, Iterator[T]]: ...

    @overload
    def __get__(self, group: AwaitingGroup, owner: type) -> Callable[P, AsyncIterator[T]]: ...

    def __get__(self, group: Union[BlockingGroup, AwaitingGroup, None], owner: type) -> Any:
        if group is None:
            return self
        client = group._client  # noqa: SLF001 - the group is this module's

        @functools.wraps(self._build)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.iterate(self._build(group, *args, **kwargs))

        return call

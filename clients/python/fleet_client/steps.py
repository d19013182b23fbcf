"""The core speaks to the outside in steps, which the two clients carry out.

A flow is a generator: it yields a step, gets the step's outcome back, and returns a result. What
it does is the same whether a blocking or an asynchronous client drives it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Optional, Protocol, TypeVar, Union

T = TypeVar("T")


class Sink(Protocol):
    """Takes a body as it comes, instead of holding it in memory."""

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Called once before the body of a successful answer."""

    def write(self, chunk: bytes) -> None:
        """Called for each piece."""


@dataclass(frozen=True)
class Send:
    """Send one request; the outcome is an Answer, or Unreachable is raised.

    With `silence_s` a stream of events is left open for More to read: it may say nothing for so
    many seconds.
    """

    method: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: Optional[bytes] = field(default=None, repr=False)
    sink: Optional[Sink] = field(default=None, repr=False)
    silence_s: Optional[float] = None


@dataclass(frozen=True)
class Answer:
    """What came back. Names of headers are in lower case; a body for a sink is not here.

    `body` is one that was left open; the client that made it knows what it is.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    body: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class More:
    """Wait for the next piece of an open body; the outcome is empty at its end.

    Unreachable is raised when it is cut. Who iterates may stop before the end: the client closes
    what is open then, so a flow has one open body at a time.
    """

    body: Any = field(repr=False)


@dataclass(frozen=True)
class Pause:
    """Do nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Alone:
    """Run a flow while no other flow of this client runs alone; the outcome is its result."""

    flow: Generator[Any, Any, Any] = field(repr=False)


@dataclass(frozen=True)
class Item(Generic[T]):
    """Hand one thing to who iterates."""

    value: T


Step = Union[Send, More, Pause, Alone]
Flow = Generator[Step, Any, T]
Items = Generator[Union[Send, More, Pause, Alone, Item[T]], Any, None]


def advance(flow: Generator[T, Any, Any], outcome: Any) -> T:
    """Give a flow the outcome of its step, an exception too; return its next step."""
    return flow.throw(outcome) if isinstance(outcome, Exception) else flow.send(outcome)

"""Waiting for something to end by asking for it, less and less often."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from typing import Optional, TypeVar

from fleet_client.errors import WaitTimeout
from fleet_client.steps import Flow, Pause

T = TypeVar("T")
FIRST_S = 0.3
LONGEST_S = 5.0
GROWTH = 1.5


class Pace:
    """How long to pause before the next question, in seconds; `reset` when something moved."""

    def __init__(self, *, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> None:
        self._first = first_s
        self._longest = longest_s
        self._next = first_s

    def reset(self) -> None:
        """Begin again with short pauses."""
        self._next = self._first

    def pause_s(self) -> float:
        """Return the next pause, spread by a quarter."""
        pause = self._next * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
        self._next = min(self._longest, self._next * GROWTH)
        return pause


class Deadline:
    """The moment to stop waiting; `timeout` is in seconds, None for never."""

    def __init__(self, timeout: Optional[float]) -> None:
        self._timeout = timeout
        self._at = None if timeout is None else time.monotonic() + timeout

    def left_s(self, what: str) -> float:
        """Return the seconds that are left; WaitTimeout with `what` when there are none."""
        left = math.inf if self._at is None else self._at - time.monotonic()
        if left <= 0:
            raise WaitTimeout(f"{what} after {self._timeout:g} s of waiting.")
        return left

    def pause(self, pause_s: float, what: str) -> Flow[None]:
        """Pause, but not past the deadline; WaitTimeout with `what` when it has passed."""
        yield Pause(min(pause_s, self.left_s(what)))


def until(
    look: Callable[[], Flow[T]],
    *,
    is_done: Callable[[T], bool],
    describe: Callable[[T], str],
    timeout: Optional[float],
    state: Optional[Callable[[T], object]] = None,
    on_change: Optional[Callable[[T], object]] = None,
) -> Flow[T]:
    """Look until `is_done`; return what was seen last.

    `on_change` gets what was seen whenever its `state` (else its description) is another than
    before. Raises WaitTimeout after `timeout` seconds.
    """
    state = state or describe
    pace = Pace()
    deadline = Deadline(timeout)
    before: Optional[T] = None
    while True:
        seen = yield from look()
        if before is None or state(seen) != state(before):
            pace.reset()
            if on_change:
                on_change(seen)
        if is_done(seen):
            return seen
        before = seen
        yield from deadline.pause(pace.pause_s(), describe(seen))

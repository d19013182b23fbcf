"""Following a rollout: what the event stream tells, and asking where there is none."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Dict, Optional, Union

from fleet_client.core import Core, segment
from fleet_client.errors import AnswerUnusable, RateLimited, Unreachable
from fleet_client.events import EventReader, ServerEvent
from fleet_client.models import Rollout, RolloutEvent, RolloutStanding, UpdateMove
from fleet_client.polling import Deadline, Pace
from fleet_client.steps import Flow, Item, Items, More

RolloutNews = Union[RolloutEvent, RolloutStanding, UpdateMove]
# A stream says something every 15 seconds; one that says nothing for this long is dead.
SILENCE_S = 40.0
# How long to ask before a stream is tried again, where there is none.
ASKING_S = 60.0
# The pause before the next stream, at most: when the last one did not name it, and when it did.
RETRY_MS, RETRY_LONGEST_MS = 2_000, 60_000
# A stream begins, or was too slow: something may have happened that it does not tell.
GAPS = frozenset({"hello", "missed"})
# Of the story: the newest lines that are asked for, and what is remembered of what was told.
LINES = 200
REMEMBERED = 5_000


def followed(core: Core, rollout_id: str, timeout: Optional[float]) -> Items[RolloutNews]:
    """Give what happens to a rollout until it has ended; a line of its story never twice.

    Told are what an open stream says and, after a gap, what was added to the story meanwhile. A
    stream that is refused, or cut before it said anything, is replaced by asking for a while.
    """
    rollout = Following(core, rollout_id, Deadline(timeout))
    yield from rollout.begin()
    while not rollout.has_ended():
        heard = rollout.heard
        with suppress(RateLimited, Unreachable, AnswerUnusable):
            yield from rollout.listen()
        if rollout.has_ended():
            return
        if rollout.heard == heard:
            yield from rollout.ask_for_a_while()
        else:
            yield from rollout.pause()


class Following:
    """What was told of one rollout, by whichever way."""

    def __init__(self, core: Core, rollout_id: str, deadline: Deadline) -> None:
        self.heard = 0
        self._core = core
        self._id = rollout_id
        self._path = f"/rollouts/{segment(rollout_id)}"
        self._deadline = deadline
        self._told: Dict[int, None] = {}
        self._standing: Optional[RolloutStanding] = None
        self._last_id = ""
        self._retry_ms: Optional[int] = None

    def has_ended(self) -> bool:
        """Nothing more is told."""
        return self._standing is not None and self._standing.is_done

    def begin(self) -> Flow[None]:
        """Leave aside what happened before; NotFound where there is no such rollout."""
        for event in (yield from self._lines()):
            self._is_new(event)

    # --- the stream ---

    def listen(self) -> Items[RolloutNews]:
        """Tell what one stream says, to its end or the rollout's."""
        answer = yield from self._core.open(
            "/stream",
            params={"rollout": self._id},
            last_id=self._last_id,
            silence_s=min(SILENCE_S, self._deadline.left_s(self._words())),
        )
        reader = EventReader()
        while True:
            piece: bytes = yield More(answer.body)
            if not piece:
                return
            for event in reader.read(piece):
                self._retry_ms = reader.retry_ms
                yield from self._take(event)
                if self.has_ended():
                    return
            self._deadline.left_s(self._words())

    def _take(self, event: ServerEvent) -> Items[RolloutNews]:
        self.heard += 1
        if event.name in GAPS:
            yield from self._catch_up()
        elif event.name == "rollout_event":
            yield from self._adds(RolloutEvent.read(event.data))
        elif event.name == "rollout":
            yield from self._stands(RolloutStanding.read(event.data))
        elif event.name == "update":
            yield Item(UpdateMove.read(event.data))
        # Not before it was told: what is lost halfway comes again with the next stream.
        self._last_id = event.id or self._last_id

    def pause(self) -> Flow[None]:
        """Wait until the next stream may be opened."""
        pause_ms = self._retry_ms or random.uniform(RETRY_MS / 4, RETRY_MS)  # noqa: S311 - no secret
        self._retry_ms = None
        pause_s = min(pause_ms, RETRY_LONGEST_MS) / 1_000
        yield from self._deadline.pause(pause_s, self._words())

    # --- asking ---

    def ask_for_a_while(self) -> Items[RolloutNews]:
        """Tell what is seen by asking; steps of single updates are not."""
        pace = Pace()
        until = time.monotonic() + ASKING_S
        while True:
            before = self._standing
            rollout = yield from self._core.read(Rollout, "GET", self._path)
            yield from self._catch_up()
            yield from self._stands(standing_of(rollout))
            if self.has_ended() or time.monotonic() >= until:
                return
            if self._standing != before:
                pace.reset()
            yield from self._deadline.pause(pace.pause_s(), self._words())

    def _catch_up(self) -> Items[RolloutNews]:
        for event in (yield from self._lines()):
            yield from self._adds(event)

    def _lines(self) -> Flow[Iterator[RolloutEvent]]:
        page = yield from self._core.page(
            RolloutEvent, f"{self._path}/events", params={"page_size": LINES}
        )
        return reversed(page.items)

    # --- what was told ---

    def _adds(self, event: RolloutEvent) -> Items[RolloutNews]:
        if self._is_new(event):
            yield Item(event)

    def _stands(self, standing: RolloutStanding) -> Items[RolloutNews]:
        if standing == self._standing:
            return
        if standing.is_done:
            # Nothing is told after the end.
            yield from self._catch_up()
        self._standing = standing
        yield Item(standing)

    def _is_new(self, event: RolloutEvent) -> bool:
        if event.id in self._told:
            return False
        self._told[event.id] = None
        if len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]
        return True

    def _words(self) -> str:
        return f"Rollout {self._id} is {self._standing.status if self._standing else 'followed'}"


def standing_of(rollout: Rollout) -> RolloutStanding:
    """Return where a rollout stands, as the stream says it."""
    by_state = dict(rollout.progress.by_state)
    return RolloutStanding.read(
        {
            "id": rollout.id,
            "name": rollout.name,
            "release": rollout.release,
            "status": rollout.status,
            "reason": rollout.reason,
            "total": rollout.progress.total - by_state.get("left_out", 0),
            "by_state": by_state,
        }
    )

"""Listens to the portal: it wakes the other loops and passes on what shall be cancelled."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Optional

from fleet_agent.errors import AgentStopping, PortalError
from fleet_agent.loops import Loop
from fleet_agent.pace import Backoff, jittered
from fleet_agent.portal import PortalClient
from fleet_agent.settings import ConfigStore

# The portal writes at least a comment every 15 seconds.
SILENCE_S = 45.0
MAX_LINE_BYTES = 64 * 1024
MAX_REST_S = 120.0
# A stream that lived shorter counts as a failure, however politely it was opened.
STEADY_S = 60.0
UPDATE_EVENTS = ("update_available", "rollback", "resume")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """One event; a comment is an event without a name."""

    name: str = ""
    data: str = ""

    def fields(self) -> dict[str, Any]:
        """Return the JSON object it carries; empty when it carries none."""
        try:
            record = json.loads(self.data)
        except ValueError:
            return {}
        return record if isinstance(record, dict) else {}


class StreamLoop(Loop):
    """Holds one stream open; `is_up` tells whether the portal has greeted on it."""

    name = "stream"

    def __init__(
        self,
        *,
        store: ConfigStore,
        portal: PortalClient,
        on_commands: Callable[[], None],
        on_cancel: Callable[[str, int], None],
        on_update: Callable[[], None] = lambda: None,
        on_pause: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(store=store, portal=portal)
        self._on_commands = on_commands
        self._on_cancel = on_cancel
        # What may not wait: an update, going on with one, going back; and what must wait.
        self._on_update = on_update
        self._on_pause = on_pause
        self._backoff = Backoff()
        self._is_up = False
        self._up_since = 0.0
        self._rest_s: Optional[float] = None

    def is_up(self) -> bool:
        return self._is_up

    def turn(self) -> float:
        try:
            self._listen()
        except PortalError as error:
            self._down()
            wait_s = self._backoff.delay_s(error)
            # No fault: commands come by long-poll meanwhile.
            log.debug("No stream of events: %s Next try in %.0f s.", error, wait_s)
            return wait_s
        self._down()
        rest_s, self._rest_s = self._rest_s, None
        # An end without a word meets all devices at once; they must not come back at once.
        return self._backoff.delay_s() if rest_s is None else jittered(rest_s)

    def _down(self) -> None:
        if not self._is_up:
            return
        self._is_up = False
        if time.monotonic() - self._up_since >= STEADY_S:
            self._backoff.reset()
        # From here on the command loop has to long-poll.
        self._on_commands()

    def _listen(self) -> None:
        """Follow one stream to its end. Raises PortalError."""
        settings = self._store.settings
        path = self.portal.device_path("stream")
        with self.portal.events(path, read_timeout_s=SILENCE_S) as data:
            for event in read_events(data):
                if self._is_stopping:
                    raise AgentStopping
                if self._store.settings is not settings:
                    # Perhaps another portal, another token, or switched off.
                    self._rest_s = 0.0
                    return
                self._take(event)
                if event.name == "bye":
                    return

    def _take(self, event: Event) -> None:
        fields = event.fields()
        if event.name == "hello":
            log.info("Commands are told by stream now")
            self._is_up, self._up_since = True, time.monotonic()
            self._on_commands()
        elif event.name == "command_queued":
            self._on_commands()
        elif event.name == "cancel_requested":
            self._cancel(fields)
        elif event.name in UPDATE_EVENTS:
            self._on_update()
        elif event.name == "pause":
            self._on_pause()
        elif event.name == "bye":
            wait_ms = fields.get("retry_ms")
            self._backoff.reset()
            if isinstance(wait_ms, (int, float)) and not isinstance(wait_ms, bool):
                self._rest_s = min(max(0.0, wait_ms / 1000), MAX_REST_S)

    def _cancel(self, fields: dict[str, Any]) -> None:
        command, attempt = fields.get("command"), fields.get("attempt")
        if isinstance(command, str) and isinstance(attempt, int):
            self._on_cancel(command, attempt)
            self._on_commands()


def read_events(data: Iterator[bytes]) -> Iterator[Event]:
    """Give the events and comments of a byte stream as they come.

    Raises PortalError when a line is longer than any the portal writes.
    """
    name = ""
    texts: list[str] = []
    for line in _lines(data):
        field, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if not line:
            if name or texts:
                yield Event(name, "\n".join(texts))
            name, texts = "", []
        elif line.startswith(":"):
            yield Event()
        elif field == "event":
            name = value
        elif field == "data":
            texts.append(value)
        if sum(map(len, texts)) > MAX_LINE_BYTES:
            raise PortalError("An event of the stream is too long.")


def _lines(data: Iterator[bytes]) -> Iterator[str]:
    line = bytearray()
    for piece in data:
        for byte in piece:
            if byte == 0x0A:
                yield line.decode("utf-8", "replace").rstrip("\r")
                line.clear()
            else:
                line.append(byte)
        if len(line) > MAX_LINE_BYTES:
            raise PortalError("A line of the stream is too long.")

"""What every loop of a running agent does, and the loop of the heartbeats."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Optional

from fleet_agent.contact import ContactRecord
from fleet_agent.errors import AgentStopping, PortalError
from fleet_agent.heartbeat import HeartbeatSource
from fleet_agent.offline_queue import OfflineQueue
from fleet_agent.pace import Backoff, between, jittered
from fleet_agent.portal import PortalClient
from fleet_agent.settings import ConfigStore

IDLE_S = 60.0
# A portal that names a pace outside these is not believed.
MIN_PACE_S = 0.5
MAX_PACE_S = 86_400.0
FLUSH_CHUNK = 200
log = logging.getLogger(__name__)


class Loop(ABC):
    """One thread's work: turns with waits between them that `wake` and `stop` cut short."""

    name = ""

    def __init__(self, *, store: ConfigStore, portal: PortalClient) -> None:
        self._store = store
        self.portal = portal
        self._wake = threading.Event()
        self._is_stopping = False

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._is_stopping = True
        self._wake.set()

    def pause(self, seconds: float) -> None:
        """Wait, shorter when woken. Raises AgentStopping."""
        self._wake.wait(seconds)
        self._wake.clear()
        if self._is_stopping:
            raise AgentStopping

    def run(self) -> None:
        """Take turns until stopped. A fault of the program is logged and does not end the loop."""
        backoff = Backoff()
        try:
            while not self._is_stopping:
                try:
                    wait_s = self.turn() if self._store.settings.is_active else IDLE_S
                    backoff.reset()
                except Exception as error:
                    # Nobody is there to start an agent far away again.
                    log.exception("The %s loop broke and goes on", self.name)
                    wait_s = backoff.delay_s(error)
                self.pause(wait_s)
        except AgentStopping:
            return

    @abstractmethod
    def turn(self) -> float:
        """Do what is due and return the seconds until the next turn."""


class HeartbeatLoop(Loop):
    """Samples at the portal's pace; delivers, or queues what cannot be delivered."""

    name = "heartbeat"

    def __init__(
        self,
        *,
        store: ConfigStore,
        portal: PortalClient,
        source: HeartbeatSource,
        queue: OfflineQueue,
        contact: ContactRecord,
        on_commands: Callable[[], None],
        on_target: Callable[[Optional[str]], None] = lambda version: None,
    ) -> None:
        super().__init__(store=store, portal=portal)
        self._on_target = on_target
        self._source = source
        self._queue = queue
        self._contact = contact
        self._on_commands = on_commands
        self._backoff = Backoff()
        self._flush_backoff = Backoff()
        self._pace_s: Optional[float] = None
        self._next_sample = 0.0
        self._next_try = 0.0
        self._next_flush = 0.0

    def settings_changed(self) -> None:
        """Take up new settings now: beat at once, and at the new interval until told otherwise."""
        self._pace_s = None
        self._next_sample = self._next_try = 0.0
        self._queue.max_bytes = self._store.settings.queue_max_mb * 1024 * 1024
        self.wake()

    def turn(self) -> float:
        now = time.monotonic()
        is_due = now >= self._next_sample
        is_retry = self._backoff.failures > 0 and now >= self._next_try
        if is_due or is_retry:
            self._beat(is_due=is_due)
        moments = [self._next_sample]
        if self._backoff.failures:
            moments.append(self._next_try)
        return max(0.0, min(moments) - time.monotonic())

    def _beat(self, *, is_due: bool) -> None:
        """Sample, and deliver unless the backoff says not yet.

        A retry between two samples is only an attempt at contact: it is not queued, or an outage
        would fill the queue faster than time passes.
        """
        beat = self._source.build()
        if is_due:
            self._next_sample = time.monotonic() + self._interval_s()
        if time.monotonic() < self._next_try:
            self._queue.append(beat)
            return
        try:
            answer = self.portal.call("POST", self.portal.device_path("heartbeat"), body=beat)
        except PortalError as error:
            self._failed(error, beat if is_due else None)
        else:
            self._delivered(answer)

    def _delivered(self, answer: dict[str, Any]) -> None:
        if self._backoff.failures:
            log.info("In contact with the portal again, %d heartbeats queued", len(self._queue))
        self._backoff.reset()
        self._next_try = 0.0
        self._pace_s = _pace(answer.get("next_heartbeat_s"))
        if self._pace_s is not None:
            # The portal has jittered its pace already.
            self._next_sample = time.monotonic() + self._pace_s
        self._contact.succeeded(answer)
        if answer.get("commands_pending"):
            self._on_commands()
        target = answer.get("target_version")
        self._on_target(target if isinstance(target, str) else None)
        if len(self._queue) and time.monotonic() >= self._next_flush:
            self._flush()

    def _failed(self, error: PortalError, beat: Optional[dict[str, Any]]) -> None:
        wait_s = self._backoff.delay_s(error)
        self._next_try = time.monotonic() + wait_s
        self._contact.failed(error)
        log.warning(
            "Heartbeat not delivered: %s%s Next try in %.0f s.", error, advice(error), wait_s
        )
        # A refusal of the content or of the device itself would only be refused again.
        if beat is not None and (error.is_temporary or error.status == 401):
            self._queue.append(beat)

    def _flush(self) -> None:
        """Deliver the queue, oldest first, in chunks, until the next heartbeat is due."""
        limit = FLUSH_CHUNK
        while len(self._queue) and time.monotonic() < self._next_sample:
            chunk = self._queue.peek(limit)
            if not chunk:
                return
            device_id = self._store.settings.device_id
            beats = [{"device_id": device_id, **queued.body} for queued in chunk]
            try:
                answer = self.portal.call("POST", "/telemetry/batch", body={"heartbeats": beats})
            except PortalError as error:
                if error.status not in (400, 413, 422):
                    self._next_flush = time.monotonic() + self._flush_backoff.delay_s(error)
                    log.warning("The queue was not delivered: %s", error)
                    return
                if len(chunk) > 1:
                    limit = len(chunk) // 2
                    continue
                log.warning("One queued heartbeat is dropped, the portal refuses it: %s", error)
            else:
                self._flush_backoff.reset()
                _log_rejected(answer)
            self._queue.ack(chunk[-1].position)
            # A whole fleet empties its queues after an outage; leave the portal room to breathe.
            self.pause(between(0.02, 0.3))

    def _interval_s(self) -> float:
        return self._pace_s or jittered(self._store.settings.heartbeat_interval)


def _pace(seconds: object) -> Optional[float]:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return None
    return min(max(float(seconds), MIN_PACE_S), MAX_PACE_S)


def advice(error: PortalError) -> str:
    """Return what a person can do about a refusal; empty when nothing."""
    if error.status == 401:
        return (
            " The portal does not accept this device's token:"
            " enrol it again with `fleet-agent enroll --replace`."
        )
    if error.status == 403:
        return " The portal does not serve this device at the moment: is it accepted and active?"
    if error.status == 404:
        return " The portal does not know DEVICE_ID or FLEET_URL is no portal: check both."
    return ""


def _log_rejected(answer: dict[str, Any]) -> None:
    results = answer.get("results")
    for item in results if isinstance(results, list) else []:
        if isinstance(item, dict) and item.get("status") == "rejected":
            log.error(
                "One queued heartbeat is dropped, the portal rejects it: %s", item.get("detail")
            )

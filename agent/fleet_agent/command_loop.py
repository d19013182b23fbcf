"""Fetches commands, one at a time, and has them carried out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Optional

from fleet_agent.errors import PortalError
from fleet_agent.executor import Executor
from fleet_agent.loops import IDLE_S, Loop, advice
from fleet_agent.pace import Backoff, between, jittered
from fleet_agent.portal import PortalClient
from fleet_agent.settings import ConfigStore

CLAIM_WAIT_S = 25
CLAIM_MARGIN_S = 10.0
# An empty answer faster than this was not held open by the portal.
HELD_S = 1.0
# With a stream that wakes, asking without being woken is only a precaution; heartbeats tell of
# waiting commands too.
SAFETY_S = 300.0
# While commands wait for something on this machine (a reboot, a unit that is still stopping).
WAITING_S = 5.0
DISK_S = 30.0
log = logging.getLogger(__name__)


class CommandLoop(Loop):
    """Asks for commands when the stream says so, by long-poll as long as there is no stream."""

    name = "command"

    def __init__(self, *, store: ConfigStore, portal: PortalClient) -> None:
        super().__init__(store=store, portal=portal)
        self._backoff = Backoff()
        self._has_recovered = False
        self.executor: Optional[Executor] = None
        self.is_stream_up: Callable[[], bool] = lambda: False

    def turn(self) -> float:
        executor = self.executor
        if executor is None:
            return IDLE_S
        if not self._has_recovered:
            executor.recover()
            self._has_recovered = True
        has_stream = self.is_stream_up()
        started = time.monotonic()
        try:
            executor.check_waiting()
            executor.report_results()
            if not executor.can_begin():
                log.warning("No command is fetched as long as the journal cannot be written")
                return jittered(DISK_S)
            commands = self._claim(0 if has_stream else self._wait_s(executor))
        except PortalError as error:
            wait_s = self._backoff.delay_s(error)
            log.warning(
                "No commands fetched: %s%s Next try in %.0f s.", error, advice(error), wait_s
            )
            return wait_s
        self._backoff.reset()
        for command in commands:
            executor.handle(command)
        return 0.0 if commands else self._pause_s(executor, time.monotonic() - started)

    def _wait_s(self, executor: Executor) -> int:
        return int(WAITING_S) if executor.has_waiting() else CLAIM_WAIT_S

    def _pause_s(self, executor: Executor, held_s: float) -> float:
        if self.is_stream_up():
            return jittered(WAITING_S if executor.has_waiting() else SAFETY_S)
        if held_s >= HELD_S:
            return between(0.0, 0.5)
        return jittered(self._store.settings.command_poll_interval)

    def _claim(self, wait_s: int) -> list[dict[str, Any]]:
        # One at a time: the lease of a second would run while the first is carried out.
        answer = self.portal.call(
            "POST",
            self.portal.device_path("commands/claim"),
            params={"wait": wait_s, "max": 1},
            read_timeout_s=wait_s + CLAIM_MARGIN_S,
        )
        commands = answer.get("commands")
        if not isinstance(commands, list):
            raise PortalError("The portal's answer to a claim holds no list of commands.")
        return [command for command in commands if isinstance(command, dict)]

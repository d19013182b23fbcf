"""Keeps the portal informed while a command runs: output, lease, and whether it shall stop."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from fleet_agent.errors import PortalError, present_state
from fleet_agent.live import Live
from fleet_agent.pace import Backoff, jittered
from fleet_agent.portal import PortalClient

RENEW_S = 20.0
# The portal takes one piece of output a second.
PIECE_S = 1.0
FLUSH_PATIENCE_S = 120.0
ENDED = ("cancelled", "timed_out", "expired", "failed", "rejected")
log = logging.getLogger(__name__)


class Keeper:
    """A thread beside one long command. Use as a context manager around its execution."""

    def __init__(self, *, portal: PortalClient, live: Live) -> None:
        self._portal = portal
        self._live = live
        self._is_done = threading.Event()
        self._can_renew = True
        self._next_piece = 0.0
        self._backoff = Backoff(base_s=2.0, cap_s=30.0)
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def __enter__(self) -> Keeper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_done.set()

    def flush(self) -> None:
        """Wait until what is left of the output was sent, or the patience is over."""
        self._is_done.set()
        self._thread.join(FLUSH_PATIENCE_S)

    def _run(self) -> None:
        next_renewal = time.monotonic() + jittered(RENEW_S)
        while not self._is_done.wait(PIECE_S):
            try:
                self._pump(is_final=False)
                if time.monotonic() >= next_renewal:
                    next_renewal = time.monotonic() + jittered(RENEW_S)
                    self._renew()
                self._backoff.reset()
            except PortalError as error:  # noqa: PERF203 - a second passes between two turns
                log.debug("Command %s: %s", self._live.entry.command_id, error)
                self._is_done.wait(self._backoff.delay_s(error))
            except OSError as error:
                log.debug("The output of %s cannot be read: %s", self._live.entry.kind, error)
        self._send_rest()

    def _send_rest(self) -> None:
        deadline = time.monotonic() + FLUSH_PATIENCE_S
        while time.monotonic() < deadline:
            try:
                if not self._pump(is_final=True):
                    return
            except PortalError as error:
                wait_s = self._backoff.delay_s(error)
            except OSError:
                return
            else:
                continue
            time.sleep(min(wait_s, max(0.0, deadline - time.monotonic())))

    def _pump(self, *, is_final: bool) -> bool:
        stream = self._live.stream
        if stream is None or not stream.is_due(is_final=is_final):
            return False
        early_s = self._next_piece - time.monotonic()
        if early_s > 0:
            time.sleep(early_s)
        stream.pump(is_final=is_final)
        self._next_piece = time.monotonic() + PIECE_S
        return True

    def _renew(self) -> None:
        if not self._can_renew:
            return
        live = self._live
        body: dict[str, Any] = {"attempt": live.entry.attempt}
        if live.step_timeout_s is not None:
            body["step_timeout_s"] = live.step_timeout_s
        try:
            answer = self._portal.call(
                "POST", f"/commands/{live.entry.command_id}/renew", body=body
            )
        except PortalError as error:
            if error.is_temporary:
                raise
            if error.status == 409 and present_state(error) in ENDED:
                # Nobody waits for it any more.
                live.cancelled.set()
            # An older portal knows no renewal.
            self._can_renew = False
            return
        if answer.get("cancel_requested"):
            live.cancelled.set()

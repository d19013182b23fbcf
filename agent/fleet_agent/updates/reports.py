"""Telling the portal how an update goes, and how it ended until the portal has heard it."""

from __future__ import annotations

import logging
import time
from typing import Any, Optional

from fleet_agent.errors import PortalError
from fleet_agent.portal import PortalClient
from fleet_agent.redaction import plain_text, remove_secrets
from fleet_agent.updates.errors import UpdateWithdrawnError
from fleet_agent.updates.state import PREPARING, StateFile, UpdateState

PATH = "/telemetry/update-results"
PROGRESS_S = 5.0
PROGRESS_PERCENT = 10
# How long steps are not told to a portal that did not answer, seconds.
SILENCE_S = 60.0
MAX_ERROR_BYTES = 4096
# The portal has ended the update; what is to come would be refused.
OVER = ("cancelled", "failed", "rolled_back", "verified")
# Sending the same report again can never be accepted.
FINAL = (400, 404, 409, 410, 413, 422)
log = logging.getLogger(__name__)


class UpdateReporter:
    """Sends the reports of updates, the last one of each until it is confirmed."""

    def __init__(self, *, portal: PortalClient, states: StateFile) -> None:
        self._portal = portal
        self._states = states
        self._told_at = 0.0
        self._told_percent = 0
        self._silent_until = 0.0

    def step(self, state: UpdateState, status: str, step: str) -> None:
        """Tell a step; one that does not arrive is lost, the next says more.

        Raises UpdateWithdrawnError when the portal has ended an update that has changed nothing.
        """
        self._told_at, self._told_percent = time.monotonic(), 0
        self._tell(state, {"status": status, "step": step})

    def progress(self, state: UpdateState, percent: int) -> None:
        """Tell how much of the bundle is there, not too often. Raises UpdateWithdrawnError."""
        is_due = time.monotonic() - self._told_at >= PROGRESS_S
        if percent - self._told_percent < PROGRESS_PERCENT and not is_due:
            return
        self._told_at, self._told_percent = time.monotonic(), percent
        self._tell(state, {"status": "downloading", "step": "downloading", "progress": percent})

    def _tell(self, state: UpdateState, report: dict[str, Any]) -> None:
        if time.monotonic() < self._silent_until:
            return
        body = {"update_id": state.update_id, **report}
        if state.timings:
            body["timings"] = state.timings
        try:
            self._portal.call("POST", PATH, body=body)
        except PortalError as error:
            present = str(error.answer.get("update_status") or "")
            if error.status == 409 and present in OVER and state.phase in PREPARING:
                raise UpdateWithdrawnError(f"The portal says the update is {present}.") from None
            if not error.status:
                # Each try costs its time-out, and between two steps nothing may run at all.
                self._silent_until = time.monotonic() + SILENCE_S
            log.info("Update %s, %s: not reported: %s", state.update_id, report["step"], error)

    def final(self) -> None:
        """Tell the end of the last update unless the portal has confirmed it.

        Raises PortalError when the portal takes nothing now; the report is then kept.
        """
        state = self._states.state
        if state is None or not state.is_unreported:
            return
        report = state.report or {"update_id": state.update_id, "status": "failed"}
        try:
            self._portal.call("POST", PATH, body=report)
        except PortalError as error:
            if error.status not in FINAL:
                raise
            if error.status in (400, 413, 422):
                self._final_in_short(report)
            # With 409 the portal has decided already, and a portal that forgot cannot be told.
            log.warning("The end of update %s is not taken: %s", state.update_id, error)
        state.is_confirmed = True
        self._states.hold(state)

    def _final_in_short(self, report: dict[str, Any]) -> None:
        kept = ("update_id", "status", "failure_class", "running_version")
        try:
            self._portal.call("POST", PATH, body={k: report[k] for k in kept if k in report})
        except PortalError as error:
            if error.status not in FINAL:
                raise


def end_report(
    state: UpdateState,
    status: str,
    *,
    running_version: str,
    health_check_passed: Optional[bool],
) -> dict[str, Any]:
    """Return the last report of an update; `state.failure` says why it is no success."""
    report: dict[str, Any] = {
        "update_id": state.update_id,
        "status": status,
        "from_version": state.from_version,
        "running_version": running_version,
        "timings": state.timings,
    }
    if health_check_passed is not None:
        report["health_check_passed"] = health_check_passed
    if state.failure is not None:
        report["failure_class"] = state.failure["failure_class"]
        report["error_code"] = state.failure["code"]
        error = remove_secrets(state.failure["error"])
        report["error"] = plain_text(error, max_bytes=MAX_ERROR_BYTES)
    return report

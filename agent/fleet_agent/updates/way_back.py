"""The way back to the release that ran before, after anything that failed once it was touched."""

from __future__ import annotations

import contextlib
import logging

from fleet_agent.updates.attempt import Attempt
from fleet_agent.updates.errors import UpdateFailedError
from fleet_agent.updates.release_store import PREVIOUS
from fleet_agent.updates.state import (
    BACK_CHECKING,
    BACK_STARTING,
    BACK_STOPPING,
    BACK_SWITCHING,
    GOING_BACK,
)

# The old release gets its time to come up, whatever the update has used.
HEALTH_LEFT_S = 3600.0
log = logging.getLogger(__name__)


def go_back(attempt: Attempt) -> None:
    """Bring the old release up again and end the update; safe to be cut and called again.

    Raises OSError when the link to the old release cannot be written; then it is to be called
    again.
    """
    state, store = attempt.state, attempt.store
    if state.phase not in GOING_BACK:
        state.was_switched = store.current() == state.release_id != state.from_release
    if state.was_switched:
        attempt.enter_anyway(BACK_STOPPING)
        _tried(attempt, "stop", state.release_id)
    attempt.enter_anyway(BACK_SWITCHING)
    _switch_back(attempt)
    is_well = _start_old(attempt)
    is_back = state.was_switched and state.from_release is not None and is_well
    attempt.end("rolled_back" if is_back else "failed", health_check_passed=is_well)


def _switch_back(attempt: Attempt) -> None:
    state, store = attempt.state, attempt.store
    try:
        store.link_back(state.from_release)
    except OSError:
        if state.from_release is not None:
            # Whatever the name says, the device has to work meanwhile.
            _tried(attempt, "start", state.from_release)
        raise
    if store.named(PREVIOUS) != state.previous_before:
        # Nothing depends on this name but a later choice of what to keep.
        with contextlib.suppress(OSError):
            store.point(PREVIOUS, state.previous_before)


def _start_old(attempt: Attempt) -> bool:
    """Start what ran before; tell whether it is well."""
    old = attempt.state.from_release
    if old is None:
        return False
    attempt.enter_anyway(BACK_STARTING)
    if not _tried(attempt, "start", old):
        return False
    attempt.enter_anyway(BACK_CHECKING)
    try:
        attempt.application(old).wait_until_healthy(left_s=HEALTH_LEFT_S)
    except UpdateFailedError as failure:
        _note(attempt, f"The old release is not healthy either: {failure}")
        return False
    return True


def _tried(attempt: Attempt, what: str, release_id: str) -> bool:
    application = attempt.application(release_id)
    try:
        application.stop() if what == "stop" else application.start()
    except UpdateFailedError as failure:
        log.warning("On the way back: %s", failure)
        _note(attempt, f"On the way back: {failure}")
        return False
    return True


def _note(attempt: Attempt, text: str) -> None:
    if attempt.state.failure is not None:
        attempt.state.failure["error"] += f"\n{text}"

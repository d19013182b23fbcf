"""What the steps of one update share: its state, its means, and how a step begins and ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Optional

from fleet_agent.updates.errors import REFUSED, TIMEOUT, UpdateFailedError
from fleet_agent.updates.hooks import Application, Limits
from fleet_agent.updates.rehearsal import SILENT_S, Rehearsal
from fleet_agent.updates.release_store import ReleaseStore
from fleet_agent.updates.reports import UpdateReporter, end_report
from fleet_agent.updates.state import ENDED, PREPARING, StateFile, UpdateState

log = logging.getLogger(__name__)


@dataclass
class Attempt:
    """One update under way. `check` raises when the agent shall end, `pause` waits."""

    state: UpdateState
    states: StateFile
    store: ReleaseStore
    reporter: UpdateReporter
    limits: Limits
    check: Callable[[], None]
    pause: Callable[[float], object]
    # Why the device does no longer want the update; empty as long as it does.
    objection: Callable[[], str] = lambda: ""
    rehearsal: Rehearsal = field(default_factory=Rehearsal)
    _began: float = field(default_factory=time.monotonic)
    _step_began: float = field(default_factory=time.monotonic)

    def enter(self, phase: str) -> None:
        """Write the phase down, before anything of it is done.

        Raises OSError when the disk does not take it; the update then stays in its phase.
        """
        self._count()
        before, self.state.phase = self.state.phase, phase
        try:
            self.states.write(self.state)
        except OSError:
            self.state.phase = before
            raise
        log.info("Update %s to %s: %s", self.state.update_id, self.state.version, phase)

    def begin(self, phase: str) -> None:
        """Enter a phase as long as there is time, and tell it.

        Raises UpdateFailedError, UpdateWithdrawnError, OSError.
        """
        self.check_wanted(f"before the step {phase}")
        self.enter(phase)
        self.reporter.step(self.state, "installing", phase)
        self.rehearse(phase)

    def check_wanted(self, when: str) -> None:
        """Raises UpdateFailedError when the time is over or the device wants it no longer."""
        if self.left_s() <= 0:
            raise UpdateFailedError(TIMEOUT, "time", f"The time was over {when}.")
        if self.state.phase in PREPARING and self.objection():
            raise UpdateFailedError(REFUSED, "safe_mode", self.objection())

    def enter_anyway(self, phase: str) -> None:
        """Write the phase down if the disk takes it: a way back is gone in any case."""
        self._count()
        self.state.phase = phase
        log.info("Update %s to %s: %s", self.state.update_id, self.state.version, phase)
        self.states.hold(self.state)

    def left_s(self) -> float:
        """Return the seconds of the offer's time that are left, all runs of the agent counted."""
        return self.state.timeout_s - self.state.spent_s - (time.monotonic() - self._began)

    def renew(self, left_s: float) -> None:
        """Take it from the portal that there are so many seconds left from now on."""
        self._count()
        self.state.timeout_s = self.state.spent_s + left_s

    def wait(self, seconds: float) -> None:
        """Wait that long, whatever else wakes this thread."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.check_wanted("while it waited")
            self.pause(end - time.monotonic())

    def rehearse(self, phase: str) -> None:
        """Go wrong in the step the portal wants to. Raises UpdateFailedError, AgentStopping."""
        if self.rehearsal.fails(phase):
            raise self.rehearsal.failure()
        if self.rehearsal.hangs(phase):
            log.warning("Update %s hangs on purpose", self.state.update_id)
            while (left_s := self.left_s() + SILENT_S) > 0:
                self.check()
                self.pause(left_s)
            raise UpdateFailedError(TIMEOUT, "chaos", f"Made to hang in the step {phase}.")

    def application(self, release_id: str) -> Application:
        return Application(
            folder=self.store.folder(release_id),
            release_id=release_id,
            version=self._version_of(release_id),
            limits=self.limits,
            check=self.check,
            pause=self.pause,
        )

    def fail_with(self, failure: UpdateFailedError) -> None:
        """Remember why it does not succeed; the first reason counts."""
        if self.state.failure is None:
            self.state.failure = {
                "failure_class": failure.failure_class,
                "code": failure.code,
                "error": str(failure),
            }

    def end(self, status: str, *, health_check_passed: Optional[bool] = None) -> None:
        """Write down how it ended, with what runs now."""
        self._end(
            status,
            runs=self._version_of(self.store.current()),
            health_check_passed=health_check_passed,
        )

    def lie(self) -> None:
        """End with the claim that the new release runs, without having touched what does."""
        log.warning("Update %s is claimed on purpose, and not done", self.state.update_id)
        self._end("claimed", runs=self.state.version, health_check_passed=None)

    def _end(self, status: str, *, runs: str, health_check_passed: Optional[bool]) -> None:
        self._count()
        self.state.report = end_report(
            self.state,
            status,
            running_version=runs,
            health_check_passed=health_check_passed,
        )
        self.state.phase = ENDED
        self.states.hold(self.state)
        log.info("Update %s to %s: %s", self.state.update_id, self.state.version, status)

    def _version_of(self, release_id: Optional[str]) -> str:
        """Return the version of a release; the disk is asked only for what nobody remembers."""
        known = {self.state.release_id: self.state.version}
        if self.state.from_release and self.state.from_version:
            known[self.state.from_release] = self.state.from_version
        if release_id in known:
            return known[release_id]
        facts = self.store.facts(release_id)
        return facts.version if facts else ""

    def _count(self) -> None:
        now = time.monotonic()
        state = self.state
        if state.phase != ENDED:
            spent = state.timings.get(state.phase, 0.0) + now - self._step_began
            state.timings[state.phase] = round(spent, 3)
        state.spent_s = round(state.spent_s + now - self._began, 3)
        self._began = self._step_began = now

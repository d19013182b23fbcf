"""An update step by step: prepared beside what runs, then changed over, then checked."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from fleet_agent.portal import PortalClient
from fleet_agent.settings import Settings
from fleet_agent.updates.attempt import Attempt
from fleet_agent.updates.errors import (
    INTERRUPTED,
    NETWORK,
    TIMEOUT,
    UpdateFailedError,
    UpdateWithdrawnError,
    failure_of,
)
from fleet_agent.updates.hooks import Limits
from fleet_agent.updates.manifest import Manifest
from fleet_agent.updates.offer import REDEPLOY, Offer
from fleet_agent.updates.preparation import Preparation
from fleet_agent.updates.rehearsal import Rehearsal
from fleet_agent.updates.release_store import CURRENT, PREVIOUS, ReleaseStore
from fleet_agent.updates.reports import UpdateReporter
from fleet_agent.updates.state import (
    CHANGING,
    CHECKING,
    MAX_CUTS,
    PREPARING,
    STARTING,
    STOPPING,
    SWITCHING,
    StateFile,
    UpdateState,
)
from fleet_agent.updates.trust_port import Trust
from fleet_agent.updates.way_back import go_back

log = logging.getLogger(__name__)


@dataclass
class Updater:
    """Carries updates out. For `ask` and `is_held` see `Preparation`; `check` raises when the
    agent shall end, `pause` waits.
    """

    portal: PortalClient
    states: StateFile
    store: ReleaseStore
    trust: Trust
    settings: Settings
    ask: Callable[[], Optional[Offer]]
    is_held: Callable[[], bool]
    check: Callable[[], None]
    pause: Callable[[float], object]
    limits: Limits
    objection: Callable[[], str] = lambda: ""

    def run(self, offer: Offer) -> None:
        """Carry out an offer, anew or from where an earlier run of the agent was cut.

        It ends in the state file; only what ends the agent itself comes through, and an OSError of
        the way back.
        """
        attempt = self._attempt(self._state_of(offer), offer)
        preparation = Preparation(
            attempt=attempt,
            offer=offer,
            portal=self.portal,
            store=self.store,
            trust=self.trust,
            settings=self.settings,
            ask=self.ask,
            is_held=self.is_held,
        )
        try:
            manifest = preparation.run()
        except UpdateWithdrawnError as withdrawn:
            self.withdraw(attempt.state, str(withdrawn))
            return
        except Exception as error:  # noqa: BLE001 - nothing was touched, and it has to be told
            self._give_up(attempt, failure_of(error, attempt.state.phase))
            return
        if attempt.rehearsal.is_false_success:
            attempt.lie()
            return
        self._change(attempt, manifest)

    def resume(self, state: UpdateState) -> None:
        """Bring an update that was cut after it touched what runs to its end, onwards or back.

        Raises OSError when not even that can be written; it is to be called again.
        """
        attempt = self._attempt(state)
        state.cuts += 1
        for release_id in (state.release_id, state.from_release):
            if release_id is not None:
                attempt.application(release_id).end_leftovers()
        is_switched = self.store.current() == state.release_id
        if state.phase in CHANGING[1:] and is_switched and state.cuts <= MAX_CUTS:
            self._onwards(attempt, STARTING, CHECKING)
            return
        cut = f"The agent was cut off in the step {state.phase}."
        attempt.fail_with(UpdateFailedError(INTERRUPTED, "interrupted", cut))
        go_back(attempt)

    def withdraw(self, state: UpdateState, why: str) -> None:
        """End an update that has changed nothing and that the portal has taken back."""
        attempt = self._attempt(state)
        self._give_up(attempt, UpdateFailedError(INTERRUPTED, "withdrawn", why))
        # Who has taken it back does not wait for a report.
        state.is_confirmed = True
        self.states.hold(state)

    def _state_of(self, offer: Offer) -> UpdateState:
        known = self.states.state
        if known is not None and known.is_open and known.update_id == offer.update_id:
            known.cuts += 1
            return known
        current = self.store.current()
        running = self.store.facts(current)
        return UpdateState(
            update_id=offer.update_id,
            kind=offer.kind,
            release_id=offer.release_id,
            version=offer.version,
            timeout_s=offer.timeout_s,
            from_release=current,
            from_version=running.version if running else "",
            previous_before=self.store.named(PREVIOUS),
        )

    def _attempt(self, state: UpdateState, offer: Optional[Offer] = None) -> Attempt:
        return Attempt(
            state=state,
            states=self.states,
            store=self.store,
            reporter=UpdateReporter(portal=self.portal, states=self.states),
            limits=self.limits,
            check=self.check,
            pause=self.pause,
            # Whoever deploys again to get a device out of trouble means it.
            objection=self.objection if state.kind != REDEPLOY else lambda: "",
            rehearsal=Rehearsal.ordered(offer.chaos if offer and self.settings.chaos else {}),
        )

    def _give_up(self, attempt: Attempt, failure: UpdateFailedError) -> None:
        """End an update that has changed nothing."""
        log.warning("Update %s is given up: %s", attempt.state.update_id, failure)
        attempt.fail_with(failure)
        # What is there of the bundle helps the next try, unless it is not what was signed.
        is_worth_keeping = failure.failure_class in (NETWORK, TIMEOUT, INTERRUPTED)
        wanted = {attempt.state.release_id} if is_worth_keeping else set()
        self.store.tidy(keep=self.settings.keep_releases, wanted=wanted)
        attempt.end("failed")

    def _change(self, attempt: Attempt, manifest: Manifest) -> None:
        """Stop what runs and let `current` name the new release."""
        state = attempt.state
        try:
            is_installed = state.from_release == manifest.release_id
            if is_installed and state.kind != REDEPLOY:
                # It runs already: nothing to change over, but it has to prove itself.
                self._onwards(attempt, CHECKING)
                return
            attempt.begin(STOPPING)
            if state.from_release is not None:
                attempt.application(state.from_release).stop()
            if is_installed:
                # Something else may run in its place, in safe mode say.
                self._onwards(attempt, STARTING, CHECKING)
                return
            attempt.begin(SWITCHING)
            self.store.prepare_way_back(state.from_release)
            self.store.point(PREVIOUS, state.from_release)
            self.store.point(CURRENT, manifest.release_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, the old release has to run
            self._turn_round(attempt, error)
            return
        self._onwards(attempt, STARTING, CHECKING)

    def _onwards(self, attempt: Attempt, *phases: str) -> None:
        """Start the release that `current` names and let it prove itself, or go back."""
        application = attempt.application(attempt.state.release_id)
        try:
            for phase in phases:
                attempt.enter(phase)
                status = "awaiting_confirmation" if phase == CHECKING else "installing"
                attempt.reporter.step(attempt.state, status, phase)
                attempt.rehearse(phase)
                if phase == STARTING:
                    application.start()
                else:
                    application.wait_until_healthy(left_s=attempt.left_s())
            self.store.note_installed(attempt.state.release_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, the old release has to run
            self._turn_round(attempt, error)
            return
        attempt.end("claimed", health_check_passed=application.has_health_check() or None)
        self.store.tidy(keep=self.settings.keep_releases, wanted=set())

    def _turn_round(self, attempt: Attempt, error: Exception) -> None:
        failure = failure_of(error, attempt.state.phase)
        if attempt.state.phase in PREPARING:
            self._give_up(attempt, failure)
            return
        log.warning("Update %s goes back: %s", attempt.state.update_id, failure)
        attempt.fail_with(failure)
        go_back(attempt)

"""An update step by step: prepared beside what runs, then changed over, then checked."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from fleet_agent.durable import sync_directory
from fleet_agent.errors import AgentError, PortalError
from fleet_agent.portal import PortalClient
from fleet_agent.settings import Settings
from fleet_agent.updates.attempt import Attempt
from fleet_agent.updates.download import Download
from fleet_agent.updates.errors import (
    INTERRUPTED,
    NETWORK,
    SPACE,
    TIMEOUT,
    VERIFICATION,
    UpdateFailedError,
    UpdateWithdrawnError,
    failure_of,
)
from fleet_agent.updates.facts import ReleaseFacts, facts_from_manifest
from fleet_agent.updates.hooks import Limits
from fleet_agent.updates.offer import Offer
from fleet_agent.updates.release_store import CURRENT, PREVIOUS, ReleaseStore
from fleet_agent.updates.reports import UpdateReporter
from fleet_agent.updates.state import (
    CHANGING,
    CHECKING,
    DOWNLOADING,
    HOLDING,
    OFFERED,
    PREPARING,
    STARTING,
    STOPPING,
    SWITCHING,
    UNPACKING,
    VALIDATING,
    VERIFYING,
    StateFile,
    UpdateState,
)
from fleet_agent.updates.trust_port import Trust
from fleet_agent.updates.unpack import check_bundle, differences, unpack
from fleet_agent.updates.way_back import go_back

# Starts of the agent that may find one update unfinished before it is given up: something in it
# ends the agent, or the machine.
MAX_CUTS = 5
# Between two looks whether a paused update may go on.
HOLD_S = 60.0
log = logging.getLogger(__name__)


@dataclass
class Updater:
    """Carries updates out. `ask` fetches the offer of the moment, None when there is none."""

    portal: PortalClient
    states: StateFile
    store: ReleaseStore
    trust: Trust
    settings: Settings
    ask: Callable[[], Optional[Offer]]
    check: Callable[[], None]
    pause: Callable[[float], object]
    # Set by the portal's events, too.
    is_held: Callable[[], bool] = lambda: False
    limits: Limits = Limits()  # noqa: RUF009 - it is frozen

    def run(self, offer: Offer) -> None:
        """Carry out an offer, anew or from where an earlier run of the agent was cut.

        It ends in the state file; only what ends the agent itself comes through.
        """
        state = self._state_of(offer)
        attempt = self._attempt(state)
        try:
            facts = self._prepared(attempt, offer)
        except UpdateWithdrawnError as withdrawn:
            self._give_up(attempt, UpdateFailedError(INTERRUPTED, "withdrawn", str(withdrawn)))
            return
        except Exception as error:  # noqa: BLE001 - nothing was touched, and it has to be told
            log.info("Update %s is given up: %s", offer.update_id, error)
            self._give_up(attempt, failure_of(error, state.phase))
            return
        self._change(attempt, facts, offer)

    def resume(self, state: UpdateState) -> None:
        """Bring an update that was cut after it touched what runs to its end, onwards or back.

        Raises OSError when not even that can be written; it is to be called again.
        """
        attempt = self._attempt(state)
        state.cuts += 1
        for release_id in {state.release_id, state.from_release} - {None}:
            attempt.application(str(release_id)).end_leftovers()
        is_switched = self.store.current() == state.release_id
        may_go_on = state.phase in CHANGING[1:] and is_switched and state.cuts <= MAX_CUTS
        if may_go_on:
            self._onwards(attempt, STARTING, CHECKING)
        else:
            cut = f"The agent was cut off in the step {state.phase}."
            attempt.fail_with(UpdateFailedError(INTERRUPTED, "interrupted", cut))
            go_back(attempt)

    def abandon(self, state: UpdateState, failure: UpdateFailedError) -> None:
        """End an update that has changed nothing and that nobody offers any more."""
        self._give_up(self._attempt(state), failure)

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

    def _attempt(self, state: UpdateState) -> Attempt:
        return Attempt(
            state=state,
            states=self.states,
            store=self.store,
            reporter=UpdateReporter(portal=self.portal, states=self.states),
            limits=self.limits,
            check=self.check,
            pause=self.pause,
        )

    def _give_up(self, attempt: Attempt, failure: UpdateFailedError) -> None:
        attempt.fail_with(failure)
        # What is there of the bundle helps the next try, unless it is not what was signed.
        is_worth_keeping = failure.failure_class in (NETWORK, TIMEOUT, INTERRUPTED)
        wanted = {attempt.state.release_id} if is_worth_keeping else set()
        self.store.tidy(keep=self.settings.keep_releases, wanted=wanted)
        attempt.end("failed")

    # --- prepared beside what runs ---

    def _prepared(self, attempt: Attempt, offer: Offer) -> ReleaseFacts:
        state = attempt.state
        if state.cuts > MAX_CUTS:
            raise UpdateFailedError(
                INTERRUPTED, "boot_loop", f"It was cut off {state.cuts} times before it was ready."
            )
        self.store.prepare()
        attempt.enter(OFFERED)
        attempt.reporter.step(state, DOWNLOADING, OFFERED)
        self._fail_on_purpose(offer, OFFERED)
        facts = self._manifest(offer)
        if not self._is_unpacked(facts):
            self._download(attempt, offer, facts)
            self._enter(attempt, VERIFYING, offer)
            self._verify(attempt, offer, facts)
            self._enter(attempt, UNPACKING, offer)
            self._unpack(facts)
        self._enter(attempt, VALIDATING, offer)
        attempt.application(facts.release_id).validate(left_s=attempt.left_s())
        self._hold(attempt, offer)
        return facts

    def _enter(self, attempt: Attempt, phase: str, offer: Offer) -> None:
        if attempt.left_s() <= 0:
            raise UpdateFailedError(TIMEOUT, "time", f"The time was over before the step {phase}.")
        attempt.enter(phase)
        attempt.reporter.step(attempt.state, "installing", phase)
        self._fail_on_purpose(offer, phase)

    def _manifest(self, offer: Offer) -> ReleaseFacts:
        running = self.store.facts(self.store.current())
        is_way_back = offer.kind in ("rollback", "redeploy")
        installed = running.counter if running and not is_way_back else None
        try:
            manifest = self.trust.manifest(offer.target_path, installed=installed)
            facts = facts_from_manifest(manifest)
        except PortalError as error:
            raise UpdateFailedError(NETWORK, "metadata", str(error)) from None
        except AgentError as error:
            code = str(getattr(error, "code", "") or "trust")
            raise UpdateFailedError(VERIFICATION, code, str(error)) from None
        except ValueError as error:
            raise UpdateFailedError(VERIFICATION, "manifest", f"The manifest: {error}.") from None
        if (facts.release_id, facts.version) != (offer.release_id, offer.version):
            raise UpdateFailedError(
                VERIFICATION, "mix_up", "The signed manifest is that of another release."
            )
        return facts

    def _is_unpacked(self, facts: ReleaseFacts) -> bool:
        folder = self.store.folder(facts.release_id)
        if not folder.is_dir():
            return False
        if self.store.current() == facts.release_id:
            # It runs: whatever it has changed in its folder is for `drift_repair` to mend.
            return self.store.facts(facts.release_id) == facts
        try:
            found = differences(folder, facts)
        except OSError:
            found = [{}]
        if found or self.store.facts(facts.release_id) != facts:
            self.store.remove(facts.release_id)
            return False
        return True

    def _download(self, attempt: Attempt, offer: Offer, facts: ReleaseFacts) -> None:
        state = attempt.state
        attempt.enter(DOWNLOADING)
        self._fail_on_purpose(offer, DOWNLOADING)
        self.store.tidy(keep=self.settings.keep_releases, wanted={facts.release_id})
        self._check_space(facts)
        self._downloader(attempt, facts).run(offer.bundle_url)
        attempt.reporter.progress(state, 100)

    def _downloader(self, attempt: Attempt, facts: ReleaseFacts) -> Download:
        size = max(1, facts.bundle_size)
        return Download(
            portal=self.portal,
            path=self.store.part(facts.release_id),
            size=facts.bundle_size,
            renewed_link=lambda: self._same_offer(attempt).bundle_url,
            told=lambda there: attempt.reporter.progress(
                attempt.state, min(99, there * 100 // size)
            ),
            left_s=attempt.left_s,
            pause=self.pause,
        )

    def _check_space(self, facts: ReleaseFacts) -> None:
        part = self.store.part(facts.release_id)
        there = part.stat().st_size if part.exists() else 0
        wanted = max(0, facts.bundle_size - there) + facts.unpacked_bytes
        # A file takes whole blocks.
        wanted += 4096 * len(facts.files)
        free = self.store.free_bytes()
        if wanted > free:
            raise UpdateFailedError(
                SPACE, "disk", f"{wanted} bytes are needed and {free} may be used. Make room."
            )

    def _verify(self, attempt: Attempt, offer: Offer, facts: ReleaseFacts) -> None:
        part = self.store.part(facts.release_id)
        try:
            check_bundle(part, facts)
        except UpdateFailedError:
            # A part that a power cut has spoilt deserves one whole download more.
            download = self._downloader(attempt, facts)
            download.forget()
            download.run(offer.bundle_url)
            check_bundle(part, facts)
        part.replace(self.store.bundle(facts.release_id))
        sync_directory(part.parent)

    def _unpack(self, facts: ReleaseFacts) -> None:
        partial = self.store.partial(facts.release_id)
        unpack(self.store.bundle(facts.release_id), facts, partial)
        self.store.keep_facts(facts)
        partial.rename(self.store.folder(facts.release_id))
        sync_directory(self.store.root)

    def _same_offer(self, attempt: Attempt) -> Offer:
        """Ask for the offer again. Raises PortalError, UpdateWithdrawnError."""
        offer = self.ask()
        if offer is None or offer.update_id != attempt.state.update_id:
            raise UpdateWithdrawnError("The portal offers the update no longer.")
        return offer

    def _hold(self, attempt: Attempt, offer: Offer) -> None:
        """Wait as long as the portal has paused the update; nothing was touched so far."""
        if not offer.is_paused and not self.is_held():
            return
        attempt.enter(HOLDING)
        attempt.reporter.step(attempt.state, "installing", HOLDING)
        while True:
            try:
                if not self._same_offer(attempt).is_paused:
                    return
            except PortalError as error:
                log.info("Still held: %s", error)
            if attempt.left_s() <= 0:
                raise UpdateFailedError(TIMEOUT, "paused", "It was paused until its time was over.")
            self.pause(HOLD_S)

    # --- changed over ---

    def _change(self, attempt: Attempt, facts: ReleaseFacts, offer: Offer) -> None:
        state = attempt.state
        try:
            if state.from_release == facts.release_id:
                # It runs already: nothing to change over, but it has to prove itself.
                self._onwards(attempt, CHECKING, offer=offer)
                return
            self._enter(attempt, STOPPING, offer)
            if state.from_release is not None:
                attempt.application(state.from_release).stop()
            self._enter(attempt, SWITCHING, offer)
            self.store.prepare_way_back(state.from_release)
            self.store.point(PREVIOUS, state.from_release)
            self.store.point(CURRENT, facts.release_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, the old release has to run
            self._turn_round(attempt, error)
            return
        self._onwards(attempt, STARTING, CHECKING, offer=offer)

    def _onwards(self, attempt: Attempt, *phases: str, offer: Optional[Offer] = None) -> None:
        """Start the release that `current` names and let it prove itself, or go back."""
        state = attempt.state
        application = attempt.application(state.release_id)
        try:
            for phase in phases:
                attempt.enter(phase)
                status = "awaiting_confirmation" if phase == CHECKING else "installing"
                attempt.reporter.step(state, status, phase)
                if offer is not None:
                    self._fail_on_purpose(offer, phase)
                if phase == STARTING:
                    application.start()
                else:
                    application.wait_until_healthy(left_s=attempt.left_s())
        except Exception as error:  # noqa: BLE001 - whatever it is, the old release has to run
            self._turn_round(attempt, error)
            return
        has_check = application.has_health_check()
        attempt.end("claimed", health_check_passed=True if has_check else None)
        self.store.tidy(keep=self.settings.keep_releases, wanted=set())

    def _turn_round(self, attempt: Attempt, error: Exception) -> None:
        state = attempt.state
        log.warning("Update %s goes back: %s", state.update_id, error)
        attempt.fail_with(failure_of(error, state.phase))
        if state.phase in PREPARING:
            self._give_up(attempt, failure_of(error, state.phase))
            return
        go_back(attempt)

    def _fail_on_purpose(self, offer: Offer, phase: str) -> None:
        if self.settings.chaos and offer.chaos.get("fail_at") == phase:
            kind = str(offer.chaos.get("failure_class") or "install")
            raise UpdateFailedError(kind, "chaos", f"Made to fail in the step {phase}.")

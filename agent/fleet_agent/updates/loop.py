"""Asks the portal for updates when there is a reason to, and carries them out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Optional

from fleet_agent.errors import AgentStopping, PortalError
from fleet_agent.loops import Loop, advice
from fleet_agent.pace import Backoff, jittered
from fleet_agent.portal import PortalClient
from fleet_agent.settings import ConfigStore
from fleet_agent.updates.deployment import Deployment, Wish
from fleet_agent.updates.diagnostics import send_diagnostics
from fleet_agent.updates.errors import NOT_ALLOWED, REFUSED, VERIFICATION
from fleet_agent.updates.hooks import Limits
from fleet_agent.updates.keeping import Keeping
from fleet_agent.updates.offer import REDEPLOY, Offer, OfferUnusableError, offer_from_answer
from fleet_agent.updates.reports import FINAL, PATH, UpdateReporter
from fleet_agent.updates.state import PREPARING, UpdateState
from fleet_agent.updates.trust_errors import MALFORMED
from fleet_agent.updates.trust_port import Trust
from fleet_agent.updates.updater import Updater
from fleet_agent.updates.watch import TrustWatch

# How often heartbeats may make it ask for one and the same version that it was not offered.
SAME_TARGET_S = 300.0
# What a portal answers that knows no releases yet.
NO_RELEASES = (404, 405, 501)
# What the portal says of an ordered update that something keeps from this device.
UPDATE_REFUSED = "update_refused"
# Between two tries to start an application that does not become healthy.
SETTLE_S = 10.0
NAP_S = 0.2
IN_SAFE_MODE = "The device is in safe mode and takes nothing but a redeploy."
TrustMaker = Callable[[PortalClient], Trust]
log = logging.getLogger(__name__)


class UpdateLoop(Loop):
    """One thread that asks, updates and reports; `wake` makes it ask at once."""

    name = "update"

    def __init__(
        self,
        *,
        store: ConfigStore,
        portal: PortalClient,
        deployment: Deployment,
        make_trust: TrustMaker,
        boot_id: str,
        recent_log: Callable[[], str] = str,
        limits: Limits = Limits(),  # noqa: B008 - it is frozen
    ) -> None:
        super().__init__(store=store, portal=portal)
        self._deployment = deployment
        self._make_trust = make_trust
        self._limits = limits
        self._backoff = Backoff()
        self._is_held = threading.Event()
        self._asked_for = ("", 0.0)
        self._wishes: list[Wish] = []
        self._recent_log = recent_log
        # What runs is looked at after a start of the agent, and after what went wrong.
        self._is_settled = False
        self.watch = TrustWatch(lambda: make_trust(portal))
        self.keeping = Keeping(
            deployment=deployment,
            boot_id=boot_id,
            limits=limits,
            check=self._check_stopping,
            # Used by the thread of the commands, too, which may not eat this one's wakes.
            pause=self._nap,
        )
        deployment.on_wish = self.wake

    def told_target(self, version: Optional[str]) -> None:
        """Ask when a heartbeat's answer names another version than runs."""
        running = self._deployment.running()
        if not version or (running is not None and running.version == version):
            return
        known, asked_at = self._asked_for
        now = time.monotonic()
        if version != known or now - asked_at >= SAME_TARGET_S:
            self._asked_for = (version, now)
            self.wake()

    def hold(self) -> None:
        """Ask whether the update is paused before anything that runs is touched."""
        self._is_held.set()
        self.wake()

    def turn(self) -> float:
        self._wishes += self._deployment.take_wishes()
        try:
            with self._deployment.lock:
                self._settle()
            self._tell_mode()
            has_worked = self._ask_and_update()
        except PortalError as error:
            wait_s = self._backoff.delay_s(error)
            log.warning("No update: %s%s Next try in %.0f s.", error, advice(error), wait_s)
            return wait_s
        self._backoff.reset()
        if not has_worked:
            self._answer_wishes()
        if has_worked:
            return 0.0
        if not self._is_settled:
            return jittered(SETTLE_S)
        if self._store.settings.allow_updates:
            self.watch.look()
        return jittered(self._store.settings.update_interval)

    def _settle(self) -> None:
        """Bring to its end what was cut, and tell the portal what it has not heard."""
        state = self._deployment.states.state
        if state is not None and state.is_open and state.phase not in PREPARING:
            self._updater().resume(state)
            self._is_settled = False
        if not self._is_settled:
            self._is_settled = self.keeping.is_settled()
        UpdateReporter(portal=self.portal, states=self._deployment.states).final()

    def _tell_mode(self) -> None:
        if self._deployment.safe_mode.is_told:
            return
        for recent_log in (self._recent_log(), ""):
            try:
                send_diagnostics(
                    portal=self.portal,
                    store=self._store,
                    deployment=self._deployment,
                    recent_log=recent_log,
                )
            except PortalError as error:  # noqa: PERF203 - two tries, the second a short one
                if error.status not in FINAL:
                    raise
                # A redeploy may be waiting all the same.
                log.warning("The portal does not take the diagnostics: %s", error)
            else:
                return

    def _ask_and_update(self) -> bool:
        """Ask once; True when there was an update to carry out."""
        try:
            offer = self._ask()
        except OfferUnusableError as error:
            self._refuse(error.update_id, VERIFICATION, MALFORMED, str(error))
            return False
        cut = self._cut()
        if cut is not None and (offer is None or offer.update_id != cut.update_id):
            self._updater().withdraw(cut, "The portal offers the update no longer.")
        if offer is None:
            return False
        code, refusal = self._refusal(offer)
        if refusal:
            self._refuse(offer.update_id, REFUSED, code, refusal)
            return False
        with self._deployment.lock:
            self._updater().run(offer)
            state = self._deployment.states.state
            self._is_settled = state is not None and (state.report or {}).get("status") == "claimed"
            self._settle()
        return True

    def _cut(self) -> Optional[UpdateState]:
        state = self._deployment.states.state
        return state if state is not None and state.is_open else None

    def _ask(self) -> Optional[Offer]:
        self._is_held.clear()
        try:
            answer = self.portal.call("GET", self.portal.device_path("update"))
        except PortalError as error:
            if error.status in NO_RELEASES:
                return None
            if error.code != UPDATE_REFUSED:
                raise
            for wish in self._wishes:
                wish.refusal = error.detail or str(error)
            return None
        return offer_from_answer(answer) if answer else None

    def _refusal(self, offer: Offer) -> tuple[str, str]:
        """Return why this device takes no such update: a code and a sentence, or two empty ones."""
        if not self._store.settings.allow_updates:
            return "not_allowed", NOT_ALLOWED
        if offer.kind != REDEPLOY and self._objection():
            return "safe_mode", self._objection()
        return "", ""

    def _objection(self) -> str:
        return IN_SAFE_MODE if self._deployment.safe_mode.is_on else ""

    def _refuse(self, update_id: Optional[int], failure_class: str, code: str, why: str) -> None:
        """Tell the portal that an update is not even begun, where it can be named."""
        log.warning("Update %s is refused: %s", update_id, why)
        for wish in self._wishes:
            wish.refusal = why
        if update_id is None:
            return
        self.portal.call(
            "POST",
            PATH,
            body={
                "update_id": update_id,
                "status": "failed",
                "failure_class": failure_class,
                "error_code": code,
                "error": why,
            },
        )

    def _answer_wishes(self) -> None:
        for wish in self._wishes:
            wish.ended = self._deployment.states.state
            wish.is_done.set()
        self._wishes = []

    def _updater(self) -> Updater:
        deployment = self._deployment
        return Updater(
            portal=self.portal,
            states=deployment.states,
            store=deployment.releases,
            trust=self._make_trust(self.portal),
            settings=self._store.settings,
            ask=self._ask,
            check=self._check_stopping,
            pause=self.pause,
            is_held=self._is_held.is_set,
            limits=self._limits,
            objection=self._objection,
        )

    def _nap(self, seconds: float) -> None:
        """Wait in short pieces. Raises AgentStopping."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._check_stopping()
            time.sleep(min(NAP_S, max(0.0, end - time.monotonic())))

    def _check_stopping(self) -> None:
        if self._is_stopping:
            raise AgentStopping

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
from fleet_agent.updates.errors import REFUSED
from fleet_agent.updates.hooks import Limits
from fleet_agent.updates.offer import Offer, OfferUnusableError, offer_from_answer
from fleet_agent.updates.reports import PATH, UpdateReporter
from fleet_agent.updates.state import PREPARING, UpdateState
from fleet_agent.updates.trust_port import Trust
from fleet_agent.updates.updater import Updater

# How often heartbeats may make it ask for one and the same version that it was not offered.
SAME_TARGET_S = 300.0
# What a portal answers that knows no releases yet.
NO_RELEASES = (404, 405, 501)
NOT_ALLOWED = (
    "Updates are not allowed on this device. "
    "Set ALLOW_UPDATES=true in its fleet.conf to allow them."
)
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
        """Touch nothing that runs until the portal says that the update is not paused."""
        self._is_held.set()
        self.wake()

    def release(self) -> None:
        self._is_held.clear()
        self.wake()

    def turn(self) -> float:
        self._wishes += self._deployment.take_wishes()
        try:
            with self._deployment.lock:
                self._settle()
            has_worked = self._ask_and_update()
        except PortalError as error:
            wait_s = self._backoff.delay_s(error)
            log.warning("No update: %s%s Next try in %.0f s.", error, advice(error), wait_s)
            return wait_s
        except OfferUnusableError as error:
            log.warning("%s", error)
            has_worked = False
        self._backoff.reset()
        self._answer_wishes()
        return 0.0 if has_worked else jittered(self._store.settings.update_interval)

    def _settle(self) -> None:
        """Bring to its end what was cut, and tell the portal what it has not heard."""
        state = self._deployment.states.state
        if state is not None and state.is_open and state.phase not in PREPARING:
            self._updater().resume(state)
        UpdateReporter(portal=self.portal, states=self._deployment.states).final()

    def _ask_and_update(self) -> bool:
        """Ask once; True when there was an update to carry out."""
        offer = self._ask()
        cut = self._cut()
        if cut is not None and (offer is None or offer.update_id != cut.update_id):
            self._updater().withdraw(cut, "The portal offers the update no longer.")
        if offer is None:
            return False
        refusal = self._refusal(offer)
        if refusal:
            self._refuse(offer, refusal)
            return False
        with self._deployment.lock:
            self._updater().run(offer)
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
            raise
        return offer_from_answer(answer) if answer else None

    def _refusal(self, offer: Offer) -> str:
        return "" if self._store.settings.allow_updates else NOT_ALLOWED

    def _refuse(self, offer: Offer, why: str) -> None:
        log.warning("The update to %s is refused: %s", offer.version, why)
        self.portal.call(
            "POST",
            PATH,
            body={
                "update_id": offer.update_id,
                "status": "failed",
                "failure_class": REFUSED,
                "error_code": "not_allowed",
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
        )

    def _check_stopping(self) -> None:
        if self._is_stopping:
            raise AgentStopping

"""Everything of an update that touches nothing that runs: from the manifest to a checked folder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional

from fleet_agent.durable import sync_directory
from fleet_agent.errors import PortalError
from fleet_agent.pace import Backoff
from fleet_agent.portal import PortalClient
from fleet_agent.settings import Settings
from fleet_agent.updates.attempt import Attempt
from fleet_agent.updates.download import Download
from fleet_agent.updates.errors import (
    INTERRUPTED,
    SPACE,
    UpdateFailedError,
    UpdateWithdrawnError,
)
from fleet_agent.updates.facts import check_bounds, unpacked_bytes
from fleet_agent.updates.manifest import Installed, Manifest
from fleet_agent.updates.offer import REDEPLOY, Offer
from fleet_agent.updates.release_store import ReleaseStore
from fleet_agent.updates.state import (
    DOWNLOADING,
    HOLDING,
    MAX_CUTS,
    OFFERED,
    UNPACKING,
    VALIDATING,
    VERIFYING,
)
from fleet_agent.updates.trust_errors import TrustError
from fleet_agent.updates.trust_port import Trust
from fleet_agent.updates.unpack import check_bundle, differences, extract, spoilt, unpack

# Between two looks whether a paused update may go on.
HOLD_S = 60.0
# A file takes whole blocks of the disk.
BLOCK_BYTES = 4096
log = logging.getLogger(__name__)


@dataclass
class Preparation:
    """Prepares one offer. `ask` fetches the offer of the moment, None when there is none;
    `is_held` tells whether the portal's events want it to wait.
    """

    attempt: Attempt
    offer: Offer
    portal: PortalClient
    store: ReleaseStore
    trust: Trust
    settings: Settings
    ask: Callable[[], Optional[Offer]]
    is_held: Callable[[], bool]

    def run(self) -> Manifest:
        """Return the manifest of the release, whose files lie ready then.

        Raises UpdateFailedError, UpdateWithdrawnError, OSError.
        """
        attempt = self.attempt
        cuts = attempt.state.cuts
        if cuts > MAX_CUTS:
            raise UpdateFailedError(
                INTERRUPTED, "boot_loop", f"It was cut off {cuts} times before it was ready."
            )
        self.store.prepare()
        attempt.enter(OFFERED)
        attempt.reporter.step(attempt.state, DOWNLOADING, OFFERED)
        attempt.rehearse(OFFERED)
        manifest = self._manifest()
        if not self._is_unpacked(manifest):
            self._download(manifest)
            attempt.begin(VERIFYING)
            self._verify(manifest)
            attempt.begin(UNPACKING)
            self._unpack(manifest)
        elif self.offer.kind == REDEPLOY:
            self._mend(manifest)
        attempt.begin(VALIDATING)
        attempt.application(manifest.release_id).validate(left_s=attempt.left_s())
        self._hold()
        return manifest

    def _manifest(self) -> Manifest:
        backoff = Backoff(base_s=1.0, cap_s=60.0)
        while True:
            try:
                manifest = self._asked_manifest()
            except TrustError as error:  # noqa: PERF203 - a network is asked in each turn
                delay_s = backoff.delay_s()
                if not error.is_temporary or delay_s >= self.attempt.left_s():
                    raise UpdateFailedError(error.failure_class, error.code, str(error)) from None
                self.attempt.wait(delay_s)
            else:
                check_bounds(manifest)
                return manifest

    def _asked_manifest(self) -> Manifest:
        running = self.store.facts(self.store.current())
        installed = Installed(
            counter=running.counter if running else 0, before=self.store.installed_before()
        )
        manifest = self.trust.manifest(
            self.offer.target_path, offered=self.offer.offered, installed=installed
        )
        if manifest.release_id != self.offer.release_id:
            raise TrustError(
                "The signed manifest is that of another release than the one offered.",
                code="other_release",
            )
        return manifest

    def _is_unpacked(self, manifest: Manifest) -> bool:
        release_id = manifest.release_id
        folder = self.store.folder(release_id)
        if not folder.is_dir():
            return False
        known = self.store.facts(release_id)
        is_same = known is not None and known.files == manifest.files
        if self.store.current() == release_id:
            # It runs: what it has changed in its folder is for `drift_repair` to mend. What was
            # known of it may have been lost.
            if not is_same:
                self.store.keep_facts(manifest)
            return True
        if not is_same or differences(folder, manifest):
            self.store.remove(release_id)
            return False
        return True

    def _download(self, manifest: Manifest) -> None:
        attempt = self.attempt
        attempt.enter(DOWNLOADING)
        attempt.rehearse(DOWNLOADING)
        keep = self.settings.keep_releases
        self.store.tidy(keep=keep, wanted={manifest.release_id})
        if self.store.bundle(manifest.release_id).exists():
            # It was verified before, and will be again.
            self.store.bundle(manifest.release_id).replace(self.store.part(manifest.release_id))
        self._check_space(manifest)
        self._downloader(manifest).run(self.offer.bundle_url)
        attempt.reporter.progress(attempt.state, 100)

    def _downloader(self, manifest: Manifest) -> Download:
        attempt = self.attempt
        size = max(1, manifest.bundle_size)

        def told(there: int) -> None:
            attempt.reporter.progress(attempt.state, min(99, there * 100 // size))
            attempt.check_wanted("before the bundle was there")

        return Download(
            portal=self.portal,
            path=self.store.part(manifest.release_id),
            size=manifest.bundle_size,
            renewed_link=lambda: self._same_offer().bundle_url,
            told=told,
            left_s=attempt.left_s,
            pause=attempt.wait,
        )

    def _check_space(self, manifest: Manifest) -> None:
        part = self.store.part(manifest.release_id)
        there = part.stat().st_size if part.exists() else 0
        wanted = max(0, manifest.bundle_size - there) + unpacked_bytes(manifest)
        wanted += BLOCK_BYTES * len(manifest.files)
        free = self.store.free_bytes()
        if wanted > free:
            raise UpdateFailedError(
                SPACE, "disk", f"{wanted} bytes are needed and {free} may be used. Make room."
            )

    def _verify(self, manifest: Manifest) -> None:
        part = self.store.part(manifest.release_id)
        try:
            check_bundle(part, manifest)
        except UpdateFailedError as failure:
            # A part that a power cut has spoilt deserves one whole download more.
            log.warning("%s It is fetched once more.", failure)
            download = self._downloader(manifest)
            download.forget()
            download.run(self.offer.bundle_url)
            check_bundle(part, manifest)
        part.replace(self.store.bundle(manifest.release_id))
        sync_directory(part.parent)

    def _unpack(self, manifest: Manifest) -> None:
        partial = self.store.partial(manifest.release_id)
        unpack(self.store.bundle(manifest.release_id), manifest, partial)
        self.store.keep_facts(manifest)
        partial.rename(self.store.folder(manifest.release_id))
        sync_directory(self.store.root)

    def _mend(self, manifest: Manifest) -> None:
        """Put back what differs in the folder of the release that is installed already."""
        folder = self.store.folder(manifest.release_id)
        differing = spoilt(differences(folder, manifest))
        if not differing:
            return
        # Of a bundle that is kept and whole nothing is fetched.
        self._download(manifest)
        self.attempt.begin(VERIFYING)
        self._verify(manifest)
        self.attempt.begin(UNPACKING)
        extract(self.store.bundle(manifest.release_id), manifest, differing, folder)

    def _same_offer(self) -> Offer:
        """Ask for the offer again. Raises PortalError, UpdateWithdrawnError."""
        offer = self.ask()
        if offer is None or offer.update_id != self.attempt.state.update_id:
            raise UpdateWithdrawnError("The portal offers the update no longer.")
        # It may be paused by now, and have another time: that of a paused one stands still.
        self.offer = offer
        self.attempt.renew(offer.timeout_s)
        return offer

    def _hold(self) -> None:
        """Wait as long as the portal has paused the update."""
        attempt = self.attempt
        if not self.offer.is_paused and not self.is_held():
            return
        attempt.enter(HOLDING)
        attempt.reporter.step(attempt.state, "installing", HOLDING)
        while True:
            try:
                if not self._same_offer().is_paused:
                    return
            except PortalError as error:
                log.info("Still held: %s", error)
            attempt.check_wanted("while it was paused")
            attempt.pause(min(HOLD_S, max(1.0, attempt.left_s())))

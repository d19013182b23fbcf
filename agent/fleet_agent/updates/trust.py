"""Whom this device believes about its software: the organisation's TUF repository.

Below `trust/` of the state directory: `root.json` is what this device starts from, written so that
a power cut leaves the old one or the new one; `metadata/` is python-tuf's cache, of which any file
may be torn: it is then fetched and checked again.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from fleet_agent.durable import directory_lock, sync_directory, write_atomically
from fleet_agent.portal import PortalClient
from fleet_agent.signing import KeyRing
from fleet_agent.updates.manifest import (
    ALLOWED,
    Installed,
    Manifest,
    Offered,
    check_manifest,
    path_parts,
    read_manifest,
)
from fleet_agent.updates.trust_errors import NOT_FOUND, STORAGE, UNAVAILABLE, TrustError

if TYPE_CHECKING:
    from fleet_agent.updates.tuf_client import Repository

# For everything one question needs, seconds.
BUDGET_S = 60.0
NOTHING = Installed()
log = logging.getLogger(__name__)


class TrustStore:
    """Signed metadata of this device. `trust` is UPDATE_TRUST: staged takes general as well."""

    def __init__(
        self, state_dir: Path, portal: PortalClient, trust: str, *, budget_s: float = BUDGET_S
    ) -> None:
        if trust not in ALLOWED:
            raise ValueError(f"UPDATE_TRUST is one of {', '.join(ALLOWED)}")
        self._state_dir = state_dir
        self._folder = state_dir / "trust"
        self._pin = self._folder / "root.json"
        self._portal = portal
        self._trust = trust
        self._budget_s = budget_s

    @property
    def is_pinned(self) -> bool:
        return self._pin.exists()

    def pin(self) -> bool:
        """Start from the root the portal names now, unless there is one; say whether there is.

        Who enrols a device trusts the portal at that moment; from then on the root's keys decide.
        Raises TrustError.
        """
        return self.is_pinned or self._pinned_anew()

    def repin(self) -> bool:
        """Forget the pinned root for the one the portal names now: a person enrols the device.

        While the portal has none the old one stays. Raises TrustError.
        """
        return self._pinned_anew() or self.is_pinned

    def start_from(self, root: bytes) -> None:
        """Pin a root that its own keys have signed. Raises TrustError."""
        version = _client().checked_root(root)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with directory_lock(self._folder):
                if self.is_pinned and self._pin.read_bytes() == root:
                    return
                # Another root judges anew what the old one let in.
                shutil.rmtree(self._folder / "metadata", ignore_errors=True)
                write_atomically(self._pin, root)
                sync_directory(self._state_dir)
        except OSError as error:
            raise _not_kept(error) from error
        log.info("Pinned version %d of the organisation's root of trust", version)

    def manifest(
        self,
        target_path: str,
        *,
        offered: Optional[Offered] = None,
        installed: Installed = NOTHING,
    ) -> Manifest:
        """Return the manifest when the organisation's keys vouch for it now.

        Raises TrustError: nothing of the release may then be installed.
        """
        path_parts(target_path, self._trust)
        if not self.pin():
            raise TrustError(
                "The organisation has signed nothing yet; publish a release first.", code=NOT_FOUND
            )
        with self.opened() as repository:
            content = repository.target(target_path)
        manifest = read_manifest(content, target_path)
        ring = KeyRing(self._state_dir)
        check_manifest(
            manifest,
            organization=ring.organization,
            offered=offered,
            installed=installed,
            now=datetime.now(timezone.utc),
        )
        ring.pin_organization(manifest.organization)
        return manifest

    def refresh(self) -> None:
        """Follow the organisation's metadata, where there is a root to start from.

        Raises TrustError.
        """
        if self.is_pinned:
            with self.opened():
                pass

    @contextmanager
    def opened(self) -> Iterator[Repository]:
        """Give the repository as it is now, for one question. Raises TrustError."""
        client = _client()
        try:
            with directory_lock(self._folder):
                root = self._pin.read_bytes()
                repository = client.Repository(
                    self._portal, folder=self._folder, root=root, seconds=self._budget_s
                )
                try:
                    repository.refresh()
                    yield repository
                finally:
                    # What is refused may have come after a new root that was right.
                    self._keep(root)
        except OSError as error:
            raise _not_kept(error) from error

    def _keep(self, root: bytes) -> None:
        """Make what was checked outlive a power cut: it is what later answers are held against."""
        metadata = self._folder / "metadata"
        roots = metadata / "root_history"
        for path in [*metadata.glob("*.json"), *roots.glob("*.json")]:
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        sync_directory(roots)
        sync_directory(metadata)
        newest = (metadata / "root.json").read_bytes()
        if newest != root:
            write_atomically(self._pin, newest)

    def _pinned_anew(self) -> bool:
        root = _client().fetch_root(self._portal, seconds=self._budget_s)
        if root is None:
            return False
        self.start_from(root)
        return True


def can_trust() -> bool:
    """Tell whether the library that checks signed metadata is installed."""
    try:
        _client()
    except TrustError:
        return False
    return True


def _client() -> Any:
    try:
        from fleet_agent.updates import tuf_client
    except ImportError:
        raise TrustError(
            "The Python package tuf is missing: install fleet-agent[updates].", code=UNAVAILABLE
        ) from None
    return tuf_client


def _not_kept(error: OSError) -> TrustError:
    return TrustError(f"What was checked cannot be kept: {error}.", code=STORAGE)

"""A device that asks a repository, and tells what it believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tuf_repository import TufRepository

from fleet_agent.portal import PortalClient
from fleet_agent.settings import ConfigStore
from fleet_agent.updates.manifest import Manifest
from fleet_agent.updates.trust import TrustStore
from fleet_agent.updates.trust_errors import TrustError

TOKEN = "0123456789abcdef" * 4


class TrustDevice:
    """A device with UPDATE_TRUST as given; `restart` leaves it nothing but its disk."""

    def __init__(self, folder: Path, repository: TufRepository, trust: str = "general") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.state_dir = folder / "state"
        self.state_dir.mkdir(exist_ok=True)
        self.conf = folder / "fleet.conf"
        self.conf.write_text(
            f"FLEET_URL={repository.url}\nDEVICE_ID=kiosk-7\nDEVICE_TOKEN={TOKEN}\n"
        )
        self.trust = trust
        self.repository = repository
        self.restart()

    def restart(self, *, budget_s: float = 20.0) -> None:
        self._portal = PortalClient(ConfigStore(self.conf))
        self.store = TrustStore(self.state_dir, self._portal, self.trust, budget_s=budget_s)

    def ask(self, version: str = "1.0.0", *, trust: str = "general", **fields: Any) -> Manifest:
        """Ask for a release's manifest, after a restart: nothing may depend on memory."""
        try:
            return self.store.manifest(f"{trust}/any/{version}/manifest.json", **fields)
        finally:
            self._portal.close()
            self.restart()

    def refused(self, version: str = "1.0.0", *, trust: str = "general", **fields: Any) -> str:
        """Return the reason the release is refused for."""
        with pytest.raises(TrustError) as refusal:
            self.ask(version, trust=trust, **fields)
        return refusal.value.code

    def cached(self, role: str) -> bytes:
        return (self.state_dir / "trust" / "metadata" / f"{role}.json").read_bytes()

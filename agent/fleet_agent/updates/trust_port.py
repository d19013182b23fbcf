"""What an updater needs of whoever checks signatures; `updates.trust` is the real one."""

from __future__ import annotations

from typing import Optional, Protocol

from fleet_agent.updates.manifest import Installed, Manifest, Offered


class Trust(Protocol):
    """Gives manifests that somebody whom this device trusts has signed."""

    def manifest(
        self, target_path: str, *, offered: Optional[Offered] = ..., installed: Installed = ...
    ) -> Manifest:
        """Raises TrustError: nothing of the release may then be installed."""

    def refresh(self) -> None:
        """Learn what has been signed since. Raises TrustError for what is not believed."""

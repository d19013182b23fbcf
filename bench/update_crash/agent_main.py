"""`fleet-agent run` that believes a manifest for its word: signatures are not what is measured."""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from bench.update_crash import THREAD_FILE
from fleet_agent.agent import run_agent
from fleet_agent.portal import PortalClient
from fleet_agent.settings import ConfigStore
from fleet_agent.updates.hooks import Limits
from fleet_agent.updates.manifest import (
    Installed,
    Manifest,
    Offered,
    check_manifest,
    read_manifest,
)

NOTHING = Installed()


class Believing:
    """Takes a manifest from the portal as it is."""

    def __init__(self, portal: PortalClient) -> None:
        self._portal = portal

    def manifest(
        self,
        target_path: str,
        *,
        offered: Offered | None = None,
        installed: Installed = NOTHING,
    ) -> Manifest:
        told = Path(THREAD_FILE)
        if not told.exists():
            told.write_text(str(threading.get_native_id()))
        pieces = self._portal.pieces(f"/trust/targets/{target_path}", seconds=20.0)
        manifest = read_manifest(b"".join(pieces), target_path)
        check_manifest(
            manifest,
            organization="acme",
            offered=offered,
            installed=installed,
            now=datetime.now(UTC),
        )
        return manifest

    def refresh(self) -> None:
        """Nothing is signed here."""


if __name__ == "__main__":
    limits = Limits(health_s=1.0, health_pause_s=0.3)
    run_agent(ConfigStore(Path(sys.argv[1])), Believing, limits)

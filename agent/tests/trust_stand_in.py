"""Trust for tests that are about updates: the double's word, without signatures."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Optional

from update_double import UpdateBook

from fleet_agent.updates.manifest import (
    Installed,
    Manifest,
    Offered,
    check_manifest,
    read_manifest,
)
from fleet_agent.updates.trust_errors import TrustError

NOTHING = Installed()


class StandInTrust:
    """Believes the double's word. The real store asks who has signed."""

    def __init__(self, book: UpdateBook) -> None:
        self.book = book
        self.refusal: Optional[TrustError] = None

    def manifest(
        self,
        target_path: str,
        *,
        offered: Optional[Offered] = None,
        installed: Installed = NOTHING,
    ) -> Manifest:
        content = json.dumps(self.book.manifests[target_path]).encode()
        manifest = read_manifest(content, target_path)
        check_manifest(
            manifest,
            organization="acme",
            offered=offered,
            installed=installed,
            now=datetime.now(timezone.utc),
        )
        return manifest

    def refresh(self) -> None:
        if self.refusal is not None:
            raise self.refusal

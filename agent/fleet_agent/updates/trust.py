"""Checks who vouches for a manifest. A stand-in that trusts nobody."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from fleet_agent.errors import AgentError
from fleet_agent.portal import PortalClient


class TrustError(AgentError):
    """No manifest that this device believes."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class TrustStore:
    """Refuses every manifest."""

    def __init__(self, *, state_dir: Path, portal: PortalClient, trust: str) -> None:
        self._state_dir = state_dir
        self._portal = portal
        self._trust = trust

    def manifest(self, target_path: str, *, installed: Optional[int]) -> Mapping[str, Any]:
        raise TrustError("no_trust", "This agent cannot check signatures of releases.")

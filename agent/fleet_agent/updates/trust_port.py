"""What an updater needs of whoever checks signatures; `updates.trust` is the real one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional, Protocol


class Trust(Protocol):
    """Gives manifests that somebody whom this device trusts has signed."""

    def manifest(self, target_path: str, *, installed: Optional[int]) -> Mapping[str, Any]:
        """Return the members of a manifest; `installed` is the counter of what runs, or None
        when an older release is asked for on purpose. Raises TrustError.
        """

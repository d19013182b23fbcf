"""The time of day as it is written on the wire."""

from __future__ import annotations

from datetime import datetime, timezone


def rfc3339_now() -> str:
    """Return the present moment in UTC with milliseconds."""
    now = datetime.now(timezone.utc)
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")

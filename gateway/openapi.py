"""Describes the gateway's own paths in the schema."""

from typing import Any


def add_gateway_paths(result: dict[str, Any], **_context: Any) -> dict[str, Any]:
    """Add the paths Django never sees (drf-spectacular hook)."""
    return result

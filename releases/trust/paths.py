"""How manifests are named in the organisation's repository."""

from devices.models import Device
from releases.models import ANY_ROLE
from releases.trust.roles import GENERAL, STAGED

__all__ = ["GENERAL", "STAGED", "manifest_path", "trust_of"]


def trust_of(segment: str) -> str:
    """Return which delegated role vouches for what the segment gets."""
    return GENERAL if segment == Device.Segment.GENERAL else STAGED


def manifest_path(*, trust: str, role: str, version: str) -> str:
    """Return the target path of a manifest; an empty role is every role's."""
    return f"{trust}/{role or ANY_ROLE}/{version}/manifest.json"

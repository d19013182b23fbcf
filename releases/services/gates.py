"""Why a device gets a release, or does not: an ordered list of gates."""

from dataclasses import dataclass
from datetime import datetime

from devices.models import Device
from releases.models import DeviceUpdate, Release, Rollout


@dataclass(frozen=True)
class Gate:
    """One condition: what was seen, what is wanted, and when that can change by itself."""

    gate: str
    passed: bool
    seen: str
    wanted: str
    changes_at: datetime | None = None


def gates_of(
    *, device: Device, release: Release, rollout: Rollout | None, now: datetime
) -> list[Gate]:
    """Return every gate in order; a device is eligible when all have passed."""
    return []


def offer_gate(*, update: DeviceUpdate, now: datetime) -> Gate | None:
    """Return the first gate that has closed since the update was scheduled, or None."""
    return None

"""What a plan of a rollout would do. Counts and bytes are exact, moments are estimates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Optional, Tuple

from fleet_client.records import Record


@dataclass(frozen=True)
class Blocked(Record):
    """Devices that would wait at a gate of their own."""

    gate: str = ""
    devices: int = 0


@dataclass(frozen=True)
class SimulatedStage(Record):
    """A stage; `ready` devices have no closed gate. A moment over a week ahead is None."""

    segment: str = ""
    percentage: int = 0
    devices: int = 0
    in_percentage: int = 0
    later: int = 0
    held_back: int = 0
    ready: int = 0
    blocked: Tuple[Blocked, ...] = ()
    sampled: int = 0
    starts_at: Optional[datetime] = None
    soaks_at: Optional[datetime] = None
    soak_ends_at: Optional[datetime] = None
    finishes_at: Optional[datetime] = None


@dataclass(frozen=True)
class SiteBytes(Record):
    """What a site would download."""

    site: str = ""
    devices: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Overlap(Record):
    """A rollout of another release that wants some of the same devices."""

    rollout_id: str = ""
    name: str = ""
    devices: int = 0


@dataclass(frozen=True)
class Difference(Record):
    """Who joined or left the selection since the devices were frozen; the first are named."""

    joined: int = 0
    left: int = 0
    joined_devices: Tuple[str, ...] = ()
    left_devices: Tuple[str, ...] = ()


@dataclass(frozen=True)
class SimulatedDevice(Record):
    """A device and its place in the order."""

    device_id: str = ""
    segment: str = ""
    bucket: int = 0
    site: str = ""


@dataclass(frozen=True)
class Simulation(Record):
    """What a plan would do from now on; `assumptions` says what the estimates rest on."""

    release: str = ""
    is_frozen: bool = False
    total: int = 0
    stages: Tuple[SimulatedStage, ...] = ()
    bytes: int = 0
    sites: Tuple[SiteBytes, ...] = ()
    sites_count: int = 0
    opens_at: Optional[datetime] = None
    conflicts: Tuple[Overlap, ...] = ()
    difference: Optional[Difference] = None
    devices: Tuple[SimulatedDevice, ...] = ()
    assumptions: Tuple[str, ...] = ()

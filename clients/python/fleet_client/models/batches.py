"""One order to many devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Optional, Tuple

from fleet_client.records import Record

Json = Mapping[str, Any]
ENDED = frozenset({"completed", "aborted", "cancelled"})


@dataclass(frozen=True)
class Skipped(Record):
    """A device a batch leaves out, and why."""

    device_id: str = ""
    reason: str = ""


@dataclass(frozen=True)
class BatchPreview(Record):
    """Who a batch would reach. `devices` are the first ones only."""

    count: int = 0
    by_wave: Tuple[Any, ...] = ()
    devices: Tuple[str, ...] = ()
    skipped_count: int = 0
    skipped: Tuple[Skipped, ...] = ()


@dataclass(frozen=True)
class Failure(Record):
    """What ended badly for one reason, with some of the devices."""

    status: str = ""
    error_code: str = ""
    error: str = ""
    count: int = 0
    devices: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Batch(Record):
    """One order to many devices. Lists leave `progress` and `failures` out."""

    id: str = ""
    name: str = ""
    status: str = ""
    origin: str = ""
    type: str = ""
    payload: Json = field(default_factory=dict)
    options: Json = field(default_factory=dict)
    selection: Json = field(default_factory=dict)
    total: int = 0
    wave_sizes: Tuple[int, ...] = ()
    wave: int = -1
    approval_needed: bool = False
    approved_by: str = ""
    reason: str = ""
    progress: Json = field(default_factory=dict)
    failures: Tuple[Failure, ...] = ()
    created_by: str = ""
    created_at: Optional[datetime] = None
    started_at: Optional[datetime] = None
    finished_at: Optional[datetime] = None
    retry_of: Optional[str] = None

    @property
    def is_done(self) -> bool:
        """Ended; it will not move any more."""
        return self.status in ENDED


@dataclass(frozen=True)
class BatchTarget(Record):
    """A device of a batch: its wave and its command, or why it was left out."""

    device_id: str = ""
    wave: Optional[int] = None
    skipped: str = ""
    command_id: Optional[str] = None
    status: str = ""
    error_code: str = ""
    error: str = ""
    finished_at: Optional[datetime] = None

"""Tries to bring one device to one release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Optional, Tuple

from fleet_client.records import Record, on_wire


@dataclass(frozen=True)
class UpdateStep(Record):
    """One step of an update, as the portal wrote it down."""

    at: Optional[datetime] = None
    from_status: str = on_wire("from")
    to_status: str = on_wire("to")
    step: str = ""
    detail: str = ""


@dataclass(frozen=True)
class DeviceUpdate(Record):
    """One try; claimed is the device's word, verified is proven. Lists leave `trail` out."""

    update_id: int = 0
    device_id: str = ""
    release_id: Optional[str] = None
    rollout_id: Optional[str] = None
    kind: str = ""
    segment: str = ""
    from_version: str = ""
    from_commit: str = ""
    to_version: str = ""
    to_commit: str = ""
    status: str = ""
    is_paused: bool = False
    step: str = ""
    progress: Optional[int] = None
    failure_class: str = ""
    error_code: str = ""
    error: str = ""
    health_check_passed: Optional[bool] = None
    timings: Mapping[str, float] = field(default_factory=dict)
    verify_minutes: int = 0
    scheduled_at: Optional[datetime] = None
    offered_at: Optional[datetime] = None
    started_at: Optional[datetime] = None
    claimed_at: Optional[datetime] = None
    healthy_since: Optional[datetime] = None
    deadline_at: Optional[datetime] = None
    finished_at: Optional[datetime] = None
    created_by: str = ""
    reason: str = ""
    trail: Tuple[UpdateStep, ...] = ()

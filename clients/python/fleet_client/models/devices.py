"""Devices and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Optional, Tuple

from fleet_client.records import Record

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Latest(Record):
    """The newest values a device sent."""

    at: Optional[datetime] = None
    cpu_percent: Optional[float] = None
    mem_percent: Optional[float] = None
    disk_percent: Optional[float] = None
    disk_free_gb: Optional[float] = None
    temperature_c: Optional[float] = None
    uptime_seconds: Optional[int] = None
    agent_version: str = ""
    metrics: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Device(Record):
    """A device. Lists leave `latest` and the settings out."""

    id: str = ""
    device_id: str = ""
    name: str = ""
    status: str = ""
    lifecycle: str = ""
    last_seen: Optional[datetime] = None
    version: str = ""
    target_version: Optional[str] = None
    hostname: str = ""
    platform: str = ""
    arch: str = ""
    role: str = ""
    branch: str = ""
    segment: str = ""
    ip_address: Optional[str] = None
    site: str = ""
    tags: Tuple[str, ...] = ()
    groups: Tuple[str, ...] = ()
    maintenance_mode: bool = False
    metadata: Json = field(default_factory=dict)
    created_at: Optional[datetime] = None
    latest: Optional[Latest] = None


@dataclass(frozen=True)
class Heartbeat(Record):
    """One stored heartbeat."""

    at: Optional[datetime] = None
    received_at: Optional[datetime] = None
    boot_id: str = ""
    sequence: Optional[int] = None
    health: str = ""
    version: str = ""
    cpu_percent: Optional[float] = None
    mem_percent: Optional[float] = None
    disk_percent: Optional[float] = None
    disk_free_gb: Optional[float] = None
    temperature_c: Optional[float] = None
    metrics: Json = field(default_factory=dict)
    errors: Tuple[str, ...] = ()


@dataclass(frozen=True)
class DeviceEvent(Record):
    """One line of a device's history."""

    id: str = ""
    at: Optional[datetime] = None
    event_type: str = ""
    severity: str = ""
    message: str = ""
    details: Json = field(default_factory=dict)


@dataclass(frozen=True)
class MetricPoint(Record):
    """One bucket, beginning at `at`."""

    at: Optional[datetime] = None
    count: int = 0
    avg: Optional[float] = None
    min: Optional[float] = None
    max: Optional[float] = None
    p95: Optional[float] = None


@dataclass(frozen=True)
class Metrics(Record):
    """A metric in buckets of `step` seconds."""

    metric: str = ""
    step: int = 0
    points: Tuple[MetricPoint, ...] = ()

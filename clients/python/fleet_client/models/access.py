"""Callers, what lets them in, and what they did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Optional, Tuple

from fleet_client.records import Record, secret

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Me(Record):
    """Who the portal takes the caller for."""

    kind: str = ""
    label: str = ""
    email: Optional[str] = None
    organization: Optional[str] = None
    role: Optional[str] = None
    limited_to_groups: bool = False
    organizations: Tuple[str, ...] = ()


@dataclass(frozen=True)
class ServiceStatus(Record):
    """How the portal itself is."""

    service: str = ""
    version: str = ""
    kafka_connected: bool = False
    commands_processed: int = 0
    last_error: Optional[str] = None


@dataclass(frozen=True)
class AuditEntry(Record):
    """One act, and its place in the organisation's chain."""

    id: str = ""
    seq: int = 0
    at: Optional[datetime] = None
    actor_type: str = ""
    actor: str = ""
    action: str = ""
    target_type: str = ""
    target: str = ""
    before: Optional[Json] = None
    after: Optional[Json] = None
    request_id: str = ""
    hash: str = ""


@dataclass(frozen=True)
class EnrollmentToken(Record):
    """Lets devices in. `token` is there only in the answer that made it; `raw` holds it too."""

    id: str = ""
    name: str = ""
    token: str = secret()
    prefix: str = ""
    group: Optional[str] = None
    expires_at: Optional[datetime] = None
    max_uses: int = 0
    uses: int = 0
    revoked_at: Optional[datetime] = None


@dataclass(frozen=True)
class ApiKey(Record):
    """A key of a program. `key` is there only in the answer that made it; `raw` holds it too."""

    id: str = ""
    name: str = ""
    key: str = secret()
    role: str = ""
    prefix: str = ""
    created_at: Optional[datetime] = None
    expires_at: Optional[datetime] = None
    revoked_at: Optional[datetime] = None
    last_used_at: Optional[datetime] = None

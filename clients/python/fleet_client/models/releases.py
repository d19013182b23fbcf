"""Releases and their bundles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Optional, Tuple

from fleet_client.records import Record


@dataclass(frozen=True)
class ReleaseFinding(Record):
    """What a static check found; an error keeps a release from being published."""

    severity: str = ""
    rule: str = ""
    path: str = ""
    message: str = ""


@dataclass(frozen=True)
class Artifact(Record):
    """The bundle a role gets of a release; `role` is “any” for every role. Sizes in bytes."""

    id: str = ""
    role: str = ""
    status: str = ""
    size: int = 0
    received: int = 0
    sha256: str = ""
    compose_path: str = ""


@dataclass(frozen=True)
class Release(Record):
    """A version of the software at one commit. Lists leave the findings out."""

    id: str = ""
    version: str = ""
    commit: str = ""
    roles: Tuple[str, ...] = ()
    channel: str = ""
    changelog: str = ""
    required_migration: str = ""
    feature_flags: Mapping[str, Any] = field(default_factory=dict)
    state: str = ""
    counter: Optional[int] = None
    artifacts: Tuple[Artifact, ...] = ()
    findings: Tuple[ReleaseFinding, ...] = ()
    created_at: Optional[datetime] = None
    published_at: Optional[datetime] = None
    withdrawn_reason: str = ""

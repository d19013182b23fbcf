"""Support bundles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Optional, Tuple

from fleet_client.records import Record

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Finding(Record):
    """What a rule saw in a support bundle."""

    rule: str = ""
    severity: str = ""
    message: str = ""
    path: str = ""
    line: Optional[int] = None
    count: int = 1


@dataclass(frozen=True)
class BundleFile(Record):
    """A file of a support bundle; `size` in bytes."""

    path: str = ""
    size: int = 0
    kind: str = ""
    lines: Optional[int] = None


@dataclass(frozen=True)
class Bundle(Record):
    """A support bundle. Lists leave the manifest and the findings out."""

    id: str = ""
    device_id: str = ""
    command_id: str = ""
    status: str = ""
    size: int = 0
    kept_size: int = 0
    sha256: str = ""
    error: str = ""
    manifest: Tuple[BundleFile, ...] = ()
    findings: Tuple[Finding, ...] = ()
    redactions: Tuple[Any, ...] = ()
    created_at: Optional[datetime] = None
    processed_at: Optional[datetime] = None


@dataclass(frozen=True)
class Line(Record):
    """A line of a file and its number, counted from 1."""

    number: int = 0
    text: str = ""


@dataclass(frozen=True)
class Lines(Record):
    """Some lines of a file; `next_offset` is None at its end."""

    path: str = ""
    total: int = 0
    offset: int = 0
    lines: Tuple[Line, ...] = ()
    next_offset: Optional[int] = None


@dataclass(frozen=True)
class Match(Record):
    """A line that holds what was searched, and the lines around it."""

    path: str = ""
    line: int = 0
    text: str = ""
    before: Tuple[str, ...] = ()
    after: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Matches(Record):
    """What was found; `is_cut` when there was more."""

    matches: Tuple[Match, ...] = ()
    is_cut: bool = False


@dataclass(frozen=True)
class Comparison(Record):
    """What differs between a bundle and those it is held against: members by kind."""

    compared_with: Tuple[Bundle, ...] = ()
    findings: Json = field(default_factory=dict)
    files: Json = field(default_factory=dict)
    units: Tuple[Json, ...] = ()
    packages: Tuple[Json, ...] = ()

"""How a release reaches its devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Optional, Tuple

from fleet_client.records import Record

Json = Mapping[str, Any]
ENDED = frozenset({"completed", "halted", "rolled_back"})


@dataclass(frozen=True)
class RolloutPreview(Record):
    """Who a rollout would reach. `devices` are the first ones only."""

    count: int = 0
    by_segment: Json = field(default_factory=dict)
    devices: Tuple[str, ...] = ()


@dataclass(frozen=True)
class RolloutStage(Record):
    """A segment's turn. `soak_ends_at` is None until enough of its devices have ended."""

    segment: str = ""
    percentage: int = 0
    soak_minutes: int = 0
    soak_after_percent: int = 0
    opened_at: Optional[datetime] = None
    opened_by: str = ""
    soaking_since: Optional[datetime] = None
    soak_ends_at: Optional[datetime] = None
    override_reason: str = ""
    overridden_by: str = ""


@dataclass(frozen=True)
class RolloutFailure(Record):
    """What ended badly in one way, with some of the devices."""

    status: str = ""
    failure_class: str = ""
    error_code: str = ""
    error: str = ""
    count: int = 0
    devices: Tuple[str, ...] = ()


@dataclass(frozen=True)
class SegmentProgress(Record):
    """The devices of one segment by state."""

    segment: str = ""
    total: int = 0
    by_state: Json = field(default_factory=dict)


@dataclass(frozen=True)
class RolloutProgress(Record):
    """The devices by state; `waiting` have no update yet, `left_out` get none."""

    total: int = 0
    by_state: Json = field(default_factory=dict)
    by_segment: Tuple[SegmentProgress, ...] = ()


@dataclass(frozen=True)
class Rollout(Record):
    """A plan for a release and how far it is. Lists leave the plan and the progress out.

    `release` is the version. `selection` is empty for who does not see every device of it.
    """

    id: str = ""
    name: str = ""
    release: str = ""
    release_id: str = ""
    status: str = ""
    reason: str = ""
    total: int = 0
    approval_needed: bool = False
    approved_at: Optional[datetime] = None
    approved_by: str = ""
    created_at: Optional[datetime] = None
    created_by: str = ""
    started_at: Optional[datetime] = None
    finished_at: Optional[datetime] = None
    selection: Json = field(default_factory=dict)
    stages: Tuple[RolloutStage, ...] = ()
    include_new: bool = False
    holdback_percent: int = 0
    rate_per_minute: Optional[int] = None
    concurrency: Optional[int] = None
    use_calendars: bool = False
    window: Optional[Json] = None
    blackouts: Tuple[Any, ...] = ()
    failure_rules: Tuple[Any, ...] = ()
    regression: Json = field(default_factory=dict)
    evidence: Json = field(default_factory=dict)
    on_halt: str = ""
    verify_minutes: int = 0
    verify_timeout_minutes: int = 0
    update_timeout_minutes: int = 0
    auto_promote: bool = False
    drill: Optional[Json] = None
    halted_by_rule: Optional[Json] = None
    progress: RolloutProgress = field(default_factory=RolloutProgress)
    failures: Tuple[RolloutFailure, ...] = ()

    @property
    def is_done(self) -> bool:
        """Completed, halted or rolled back: by itself it does not go on."""
        return self.status in ENDED

    def is_past(self, segment: str, now: datetime) -> bool:
        """Say whether the next stage may open, or has; ValueError for a stage that is none."""
        names = [stage.segment for stage in self.stages]
        if segment not in names:
            raise ValueError(f"Rollout {self.id} has no stage {segment}: {', '.join(names)}.")
        place = names.index(segment)
        ends_at = self.stages[place].soak_ends_at
        is_over = ends_at is not None and ends_at <= now and self.status == "running"
        return is_over or any(stage.opened_at for stage in self.stages[place + 1 :])


@dataclass(frozen=True)
class RolloutTarget(Record):
    """A device of a rollout. `state` is its update's, else waiting or left_out."""

    device_id: str = ""
    segment: str = ""
    bucket: Optional[int] = None
    left_out: str = ""
    state: str = ""
    update_id: Optional[int] = None
    step: str = ""
    progress: Optional[int] = None
    failure_class: str = ""
    error: str = ""
    finished_at: Optional[datetime] = None
    added_at: Optional[datetime] = None


@dataclass(frozen=True)
class Gate(Record):
    """One condition. `changes_at` is when it can change by itself, where that is known."""

    gate: str = ""
    passed: bool = False
    seen: str = ""
    wanted: str = ""
    changes_at: Optional[datetime] = None


@dataclass(frozen=True)
class Eligibility(Record):
    """Every gate between a device and a release, in the order in which they are asked."""

    eligible: bool = False
    gates: Tuple[Gate, ...] = ()
    target_version: Optional[str] = None

    @property
    def closed(self) -> Tuple[Gate, ...]:
        """The gates that keep the device waiting."""
        return tuple(gate for gate in self.gates if not gate.passed)


# --- what is told as it happens ---


@dataclass(frozen=True)
class RolloutEvent(Record):
    """A line of a rollout's story."""

    id: int = 0
    at: Optional[datetime] = None
    kind: str = ""
    message: str = ""
    details: Json = field(default_factory=dict)


@dataclass(frozen=True)
class RolloutStanding(Record):
    """Where a rollout stands; `total` are the devices whose turn comes, `by_state` all."""

    id: str = ""
    name: str = ""
    release: str = ""
    status: str = ""
    reason: str = ""
    total: int = 0
    by_state: Json = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Completed, halted or rolled back."""
        return self.status in ENDED


@dataclass(frozen=True)
class UpdateMove(Record):
    """One step of a device's update."""

    update_id: int = 0
    device_id: str = ""
    from_version: str = ""
    to_version: str = ""
    status: str = ""
    step: str = ""
    paused: bool = False
    error: str = ""

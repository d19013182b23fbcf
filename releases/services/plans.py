"""What a rollout is made of: who, in which order, how fast, when, and when it stops itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from common import limits
from devices.models import Device
from releases.errors import RolloutRefused
from releases.models import DeviceUpdate, Rollout, RolloutStage
from releases.services.guardrails import ALPHA, DEFAULT_RULES, OBSERVE_MINUTES
from releases.services.openings import Blackout, Opening

SEGMENTS = list(Device.Segment.values)
FAILURES = ["all", *DeviceUpdate.FailureClass.values]
_USUAL_STAGE = {"percentage": 100, "soak_minutes": 60, "soak_after_percent": 80}
_USUAL_REGRESSION = {"enabled": True, "alpha": ALPHA, "observe_minutes": OBSERVE_MINUTES}


def _stages() -> list[dict[str, Any]]:
    return [{"segment": segment, **_USUAL_STAGE} for segment in SEGMENTS]


@dataclass(frozen=True)
class Plan:
    """How a release reaches its devices; the members are those of Rollout, in JSON values.

    `stages` are {"segment", "percentage", "soak_minutes", "soak_after_percent"} in the order
    canary, early, general; a segment without a stage gets nothing.
    """

    selection: dict[str, Any] = field(default_factory=lambda: {"all": True})
    stages: list[dict[str, Any]] = field(default_factory=_stages)
    holdback_percent: int = 0
    rate_per_minute: int | None = None
    concurrency: int | None = None
    use_calendars: bool = True
    window: dict[str, Any] | None = None
    blackouts: list[dict[str, Any]] = field(default_factory=list)
    failure_rules: list[dict[str, Any]] = field(default_factory=lambda: list(DEFAULT_RULES))
    regression: dict[str, Any] = field(default_factory=lambda: dict(_USUAL_REGRESSION))
    on_halt: str = Rollout.OnHalt.HALT
    verify_minutes: int = 5
    verify_timeout_minutes: int = 60
    update_timeout_minutes: int = 120
    auto_promote: bool = False
    include_new: bool = True

    @classmethod
    def of(cls, rollout: Rollout) -> "Plan":
        """Return the plan of a rollout."""
        names = [name for name in vars(cls()) if name != "stages"]
        stages = [stage_values(one) for one in rollout.stages.order_by("position")]
        return cls(stages=stages, **{name: getattr(rollout, name) for name in names})

    @property
    def columns(self) -> dict[str, Any]:
        """What of it is kept in the row of the rollout itself."""
        return {name: value for name, value in vars(self).items() if name != "stages"}

    def check(self, now: datetime) -> None:
        """Raise RolloutRefused for a plan that cannot be carried out."""
        self._check_stages()
        if self.verify_timeout_minutes < self.verify_minutes:
            raise RolloutRefused(
                "The proof would time out before its healthy minutes have passed:"
                " raise verify_timeout_minutes or lower verify_minutes.",
                errors={"verify_timeout_minutes": [f"At least {self.verify_minutes}."]},
            )
        blackouts_check(self.blackouts)
        opening = Opening.of_plan(self.window, self.blackouts)
        if opening.opens_at(now) is None:
            raise RolloutRefused(
                "The blackouts leave nothing of the window.",
                errors={"blackouts": ["Leave time for the updates."]},
            )

    def _check_stages(self) -> None:
        named = [one["segment"] for one in self.stages]
        places = [SEGMENTS.index(one) for one in named]
        if not places or any(one >= other for one, other in pairwise(places)):
            raise RolloutRefused(
                f"Name the stages in this order, each once: {', '.join(SEGMENTS)}.",
                errors={"stages": ["At least one, in order, none twice."]},
            )


def stage_values(stage: RolloutStage) -> dict[str, Any]:
    """Return a stage as a plan names it."""
    return {"segment": stage.segment, **{name: getattr(stage, name) for name in _USUAL_STAGE}}


def stage_complete(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stage with what its maker left open."""
    return {"segment": given["segment"], **_USUAL_STAGE, **given}


def blackouts_check(blackouts: list[dict[str, Any]]) -> None:
    """Raise RolloutRefused for a blackout that ends before it begins, or for too many."""
    if len(blackouts) > limits.ROLLOUT_BLACKOUTS:
        raise RolloutRefused(f"At most {limits.ROLLOUT_BLACKOUTS} blackouts are kept.")
    for number, one in enumerate(map(Blackout.stored, blackouts)):
        if one.end <= one.start:
            raise RolloutRefused(
                "A blackout ends after it begins: swap `from` and `to`.",
                errors={f"blackouts.{number}.to": ["It is not after `from`."]},
            )

"""Who a plan would reach now, counted in the database."""

from dataclasses import dataclass
from typing import Any

from accounts.principals import Principal
from common.db import fetch_all
from releases.models import Release
from releases.services.plans import Plan
from releases.services.targets import BUCKETS, chosen_now, held_from

# The counts do not depend on the salt by more than chance: a rollout gets its own when it is made.
_SALT = "preview"


@dataclass(frozen=True)
class StageCount:
    """The devices of one stage: in its percentage, beyond it, and held back."""

    segment: str
    percentage: int
    inside: int
    beyond: int
    held: int


def plan_preview(*, plan: Plan, release: Release, principal: Principal) -> list[StageCount]:
    """Count each stage's devices. Raises SelectionRefused and RolloutRefused as a start would."""
    chosen = chosen_now(
        selection=plan.selection,
        release=release,
        salt=_SALT,
        segments=[stage["segment"] for stage in plan.stages],
        principal=principal,
    )
    rows: list[tuple[Any, ...]] = fetch_all(
        f"SELECT c.segment, c.bucket, count(*) FROM ({chosen.statement}) c GROUP BY 1, 2",  # noqa: S608
        chosen.parameters,
    )
    held_at = held_from(plan.holdback_percent)
    return [_stage(stage, rows, held_at) for stage in plan.stages]


def _stage(stage: dict[str, Any], rows: list[tuple[Any, ...]], held_at: int) -> StageCount:
    mine = [(bucket, count) for segment, bucket, count in rows if segment == stage["segment"]]
    limit = stage["percentage"] * BUCKETS // 100
    held = sum(count for bucket, count in mine if bucket >= held_at)
    inside = sum(count for bucket, count in mine if bucket < min(limit, held_at))
    total = sum(count for _, count in mine)
    return StageCount(stage["segment"], stage["percentage"], inside, total - inside - held, held)

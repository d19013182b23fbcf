"""How far a rollout is, and what goes wrong in it: counted, never loaded."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Case, CharField, Count, F, Value, When

from accounts.principals import Principal
from releases.models import DeviceUpdate, Rollout, RolloutTarget

# Beside the states of an update: its turn has not come; it takes no part for now.
WAITING = "waiting"
LEFT_OUT = "left_out"
STATES = [WAITING, *DeviceUpdate.Status.values, LEFT_OUT]
_REASONS = 20
_EXAMPLES = 5


@dataclass(frozen=True)
class Progress:
    """Targets by state, altogether and by segment."""

    by_state: Counter[str] = field(default_factory=Counter)
    by_segment: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Every device of the rollout, those left out among them."""
        return sum(self.by_state.values())


def state_expression() -> Case:
    """Return what became of a target, as one of STATES."""
    return Case(
        When(update__isnull=False, then=F("update__status")),
        When(left_out="", then=Value(WAITING)),
        default=Value(LEFT_OUT),
        output_field=CharField(),
    )


def progress_of(rollout: Rollout, principal: Principal | None = None) -> Progress:
    """Count the targets of a rollout; with `principal` only those of devices they see."""
    targets = RolloutTarget.objects.visible_to(principal) if principal else None
    rows = RolloutTarget.objects.all() if targets is None else targets
    counted: Any = (
        rows.filter(rollout=rollout)
        .order_by()
        .annotate(state=state_expression())
        .values_list("segment", "state")
        .annotate(count=Count("pk"))
    )
    progress = Progress()
    for segment, state, count in counted:
        progress.by_state[state] += count
        progress.by_segment.setdefault(segment, Counter())[state] += count
    return progress


def failures_of(rollout: Rollout, principal: Principal) -> list[dict[str, Any]]:
    """Group what ended badly by class and code, the most frequent first, with a few devices."""
    bad = DeviceUpdate.objects.visible_to(principal).filter(
        rollout=rollout, status__in=["failed", "rolled_back"]
    )
    names = ArrayAgg(F("device__device_id"), order_by=["device__device_id"])
    groups: Any = (
        bad.order_by()
        .values("failure_class", "error_code")
        .annotate(count=Count("pk"), names=names)
        .order_by("-count", "failure_class", "error_code")
    )
    return [
        {
            "failure_class": one["failure_class"],
            "error_code": one["error_code"],
            "count": one["count"],
            "devices": one["names"][:_EXAMPLES],
        }
        for one in groups[:_REASONS]
    ]

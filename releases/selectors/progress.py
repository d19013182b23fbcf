"""How far a rollout is, and what goes wrong in it: counted, never loaded."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Case, CharField, Count, F, Func, Min, Value, When
from django.db.models.functions import Left

from accounts.principals import Principal
from common import limits
from releases.models import (
    ENDED,
    LIVE,
    OPEN,
    UNSTARTED,
    DeviceUpdate,
    Rollout,
    RolloutStage,
    RolloutTarget,
)

# Beside the states of an update: its turn will come; kept out of it.
WAITING = "waiting"
LEFT_OUT = "left_out"
STATES = [*ENDED, "claimed", "awaiting_confirmation", "installing", "downloading", "offered",
          "scheduled", WAITING, LEFT_OUT]  # fmt: skip
FAILURES = ["failed", "rolled_back"]
_REASONS = 20
_EXAMPLES = 5


@dataclass(frozen=True)
class RolloutProgress:
    """Targets by state, altogether and by segment."""

    by_state: Counter[str] = field(default_factory=Counter)
    by_segment: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Devices whose turn comes without a further word."""
        return self.by_state.total() - self.by_state[LEFT_OUT]

    @property
    def ended(self) -> int:
        return sum(self.by_state[state] for state in ENDED)

    @property
    def open(self) -> int:
        return sum(self.by_state[state] for state in OPEN)


def rollout_progress(rollout: Rollout, principal: Principal | None = None) -> RolloutProgress:
    """Count the targets of a rollout; with `principal` only those of devices they see."""
    targets = RolloutTarget.objects
    rows: Any = targets.visible_to(principal) if principal else targets.all()
    counted = (
        rows.filter(rollout=rollout)
        .order_by()
        .annotate(state=state_of_target())
        .values_list("segment", "state")
        .annotate(count=Count("pk"))
    )
    progress = RolloutProgress()
    for segment, state, count in counted:
        progress.by_state[state] += count
        progress.by_segment.setdefault(segment, Counter())[state] += count
    return progress


def state_of_target() -> Case:
    """Return what became of a target in SQL, as one of STATES."""
    return Case(
        When(update__isnull=False, then=F("update__status")),
        When(left_out="", then=Value(WAITING)),
        default=Value(LEFT_OUT),
        output_field=CharField(),
    )


def counts_of(rollouts: Iterable[Rollout]) -> dict[UUID, Counter[str]]:
    """Return the targets by state of each rollout of a page of the list, in one query."""
    rows: Any = (
        RolloutTarget.objects.filter(rollout__in=[one.pk for one in rollouts])
        .order_by()
        .annotate(state=state_of_target())
        .values_list("rollout", "state")
        .annotate(count=Count("pk"))
    )
    counts: dict[UUID, Counter[str]] = {}
    for rollout, state, count in rows:
        counts.setdefault(rollout, Counter())[state] += count
    return counts


def rollout_failures(rollout: Rollout, principal: Principal) -> list[dict[str, Any]]:
    """Group what ended badly by class and reason, the most frequent first, with a few devices.

    Reasons that differ in numbers only are one: times and sizes differ on every device.
    """
    bad = DeviceUpdate.objects.visible_to(principal).filter(rollout=rollout, status__in=FAILURES)
    alike = Func(
        Left("error", limits.LINE_CHARS),
        Value("[0-9]+"),
        Value("#"),
        Value("g"),
        function="regexp_replace",
    )
    groups: Any = (
        bad.order_by()
        .annotate(alike=alike)
        .values("status", "failure_class", "error_code", "alike")
        .annotate(count=Count("pk"), error=Min(Left("error", limits.LINE_CHARS)))
        .annotate(devices=ArrayAgg(F("device__device_id"), order_by=["device__device_id"]))
        .annotate(pks=ArrayAgg(F("device_id"), order_by=["device__device_id"]))
        .order_by("-count", "status", "failure_class", "error_code", "alike")
    )
    names = ("status", "failure_class", "error_code", "error", "count")
    return [
        {
            **{name: group[name] for name in names},
            "examples": list(zip(group["devices"], group["pks"], strict=True))[:_EXAMPLES],
        }
        for group in groups[:_REASONS]
    ]


def left_out_of(rollout: Rollout, principal: Principal) -> list[dict[str, Any]]:
    """Return why devices take no part, the most frequent reason first."""
    targets = RolloutTarget.objects.visible_to(principal).filter(rollout=rollout)
    counted: Any = targets.exclude(left_out="").order_by().values("left_out")
    return list(counted.annotate(count=Count("pk")).order_by("-count", "left_out")[:_REASONS])


def stages_of(rollout: Rollout) -> list[RolloutStage]:
    """Return the stages in their order."""
    return list(rollout.stages.order_by("position"))


def installation_rollout_counts() -> dict[str, int]:
    """Return the number of unended rollouts by status over all organisations, for /metrics."""
    unended = [*UNSTARTED, *LIVE, Rollout.Status.HALTED.value]
    rows: Any = Rollout.objects.filter(status__in=unended).order_by().values_list("status")
    return {**dict.fromkeys(unended, 0), **dict(rows.annotate(count=Count("pk")))}

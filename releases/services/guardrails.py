"""Judging whether a rollout has to stop. What is judged is counted; the judging itself is pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count
from django.utils.dateparse import parse_datetime

from releases.evidence import Evidence
from releases.models import DeviceUpdate, Rollout

ALL = "all"
ALPHA = 0.001
OBSERVE_MINUTES = 15
REGRESSION = "regression"
# What `Rollout.evidence` keeps of the judged pairs.
COUNTS = ("updated_worse", "control_worse", "ties", "log_e")
# Of a rollout that was made without rules: quick where most fail, slow where a few do.
DEFAULT_RULES: list[dict[str, Any]] = [
    {"failure": ALL, "threshold_percent": 50, "min_completed": 3},
    {"failure": ALL, "threshold_percent": 20, "min_completed": 20},
    {"failure": "false_success", "threshold_percent": 1, "min_completed": 1},
]
# A cancelled update says nothing about the release.
_RAN_ITS_COURSE = ["verified", "failed", "rolled_back"]


@dataclass(frozen=True)
class Verdict:
    """Why a rollout has to stop: the rule that fired, and the sentence for people."""

    reason: str
    rule: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Regression:
    """How the health of updated devices is compared with that of others."""

    enabled: bool = True
    alpha: float = ALPHA
    observe_minutes: int = OBSERVE_MINUTES

    @classmethod
    def stored(cls, given: dict[str, Any]) -> "Regression":
        """Read what a plan says; what it leaves out is the default."""
        return cls(
            enabled=bool(given.get("enabled", True)),
            alpha=float(given.get("alpha", ALPHA)),
            observe_minutes=int(given.get("observe_minutes", OBSERVE_MINUTES)),
        )


@dataclass(frozen=True)
class Ends:
    """Updates that have ended: how many, and how many failed in which class."""

    completed: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    def failures(self, kind: str) -> int:
        """Return the failures of one class, or of all."""
        return self.failed.total() if kind == ALL else self.failed[kind]


def rules_of(rollout: Rollout) -> list[dict[str, Any]]:
    """Return the failure rules that hold for the rollout."""
    return list(rollout.failure_rules) or DEFAULT_RULES


def rollout_judge(*, rollout: Rollout, now: datetime) -> Verdict | None:
    """Return why the rollout has to stop, or None while nothing speaks against it.

    After a halt only what has ended since is judged: whoever resumes it has seen the rest.
    """
    return judge(
        rules=rules_of(rollout),
        ends=ends_of(rollout),
        regression=Regression.stored(rollout.regression),
        evidence=evidence_of(rollout),
    )


def judge(
    *,
    rules: Sequence[dict[str, Any]],
    ends: Ends,
    regression: Regression,
    evidence: Evidence,
) -> Verdict | None:
    """Return the first rule that fires: the failure rules in order, then the regression test."""
    for rule in rules:
        failures = ends.failures(rule["failure"])
        enough = ends.completed >= max(rule["min_completed"], 1)
        if enough and failures * 100 >= rule["threshold_percent"] * ends.completed:
            return Verdict(reason=_sentence(rule, failures, ends.completed), rule=dict(rule))
    if regression.enabled and evidence.speaks(regression.alpha):
        return Verdict(reason=_comparison(evidence, regression), rule=_as_rule(regression))
    return None


def _sentence(rule: dict[str, Any], failures: int, completed: int) -> str:
    kind = rule["failure"]
    what = "failed" if kind == ALL else f"failed with {kind.replace('_', ' ')}"
    return (
        f"{failures} of {completed} updates that ended {what}:"
        f" the limit is {rule['threshold_percent']} %."
    )


def _comparison(evidence: Evidence, regression: Regression) -> str:
    differ = evidence.updated_worse + evidence.control_worse
    return (
        f"Updated devices became ill: in {evidence.updated_worse} of {differ} pairs that differ"
        f" the updated one is worse. Without harm the chance of such a sign is at most"
        f" {regression.alpha:g}."
    )


def _as_rule(regression: Regression) -> dict[str, Any]:
    return {
        "failure": REGRESSION,
        "alpha": regression.alpha,
        "observe_minutes": regression.observe_minutes,
    }


def since_of(rollout: Rollout) -> datetime | None:
    """Return since when ends and pairs count: the last halt, None for all of them."""
    halted_at = rollout.evidence.get("halted_at")
    return parse_datetime(halted_at) if halted_at else None


def ends_of(rollout: Rollout) -> Ends:
    """Count the updates that count: one grouped query. Ways back are not judged."""
    rows = DeviceUpdate.objects.filter(
        rollout=rollout, kind=DeviceUpdate.Kind.ROLLOUT, status__in=_RAN_ITS_COURSE
    )
    if since := since_of(rollout):
        rows = rows.filter(finished_at__gt=since)
    counted = rows.order_by().values_list("status", "failure_class").annotate(count=Count("pk"))
    ends, failed = 0, Counter[str]()
    for status, failure_class, count in counted:
        ends += count
        if status != DeviceUpdate.Status.VERIFIED:
            failed[failure_class] += count
    return Ends(completed=ends, failed=failed)


def evidence_of(rollout: Rollout) -> Evidence:
    """Return what the judged pairs say, as `pairs_judge` has counted them."""
    counts = {name: int(rollout.evidence.get(name, 0)) for name in COUNTS[:3]}
    return Evidence(**counts)

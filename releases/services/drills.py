"""Proving that a rollout's rules fire before it starts: the real judge is fed made-up cohorts."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from math import ceil
from typing import Any

from django.db import transaction

from audit.services import Actor
from releases.errors import RolloutRefused
from releases.evidence import Evidence, least_pairs
from releases.models import Rollout, RolloutTarget
from releases.services.guardrails import (
    ALL,
    DEFAULT_RULES,
    REGRESSION,
    Ends,
    Regression,
    judge,
    rules_of,
)
from releases.services.rollout_events import rollout_record

_FALSE_SUCCESS = "false_success"
# Without a count of devices, drills are held with a cohort of this size.
_COHORT = 1_000


@dataclass(frozen=True)
class Case:
    """One made-up cohort, and whether the judge stopped the rollout as it had to."""

    name: str
    completed: int
    failed: int
    wanted: str
    fired: str
    reason: str = ""

    @property
    def passed(self) -> bool:
        return self.wanted == self.fired


@transaction.atomic
def rollout_drill(*, rollout: Rollout, actor: Actor | None, now: datetime) -> Rollout:
    """Feed the judge cohorts that have to stop the rollout and such that must not; keep the proof.

    Each failure rule is tried with the fewest failures that have to fire it and with one less, the
    comparison with a worsening of health and with none, and all of them together with a false
    success and a healthy cohort. Raises RolloutRefused for a rule that cannot fire.
    """
    rules, regression = rules_of(rollout), Regression.stored(rollout.regression)
    size = RolloutTarget.objects.filter(rollout=rollout, left_out="").count() or rollout.total
    for rule in rules:
        _check(rule, size)
    cases = [*_waiting(rules, size), *_cases(_able(rules, size), regression, size or _COHORT)]
    wrong = [case for case in cases if not case.passed]
    rollout.drill = {
        "at": now.isoformat(),
        "by": actor.label if actor else "system",
        "passed": not wrong,
        "devices": size,
        "rules": rules,
        "regression": asdict(regression),
        "cases": [asdict(case) | {"passed": case.passed} for case in cases],
    }
    if wrong:
        raise RolloutRefused(
            f"The drill “{wrong[0].name}” did not end as it has to: wanted"
            f" {wrong[0].wanted or 'no stop'}, found {wrong[0].fired or 'no stop'}."
            " Change the failure rules.",
            drill=rollout.drill,
        )
    rollout.save(update_fields=["drill"])
    rollout_record(rollout, "drill", actor=actor, passed=True, cases=len(cases))
    return rollout


def _check(rule: dict[str, Any], size: int) -> None:
    """Refuse a rule no outcome could ever fire."""
    name, threshold = rule["failure"], rule["threshold_percent"]
    if threshold > 100:
        raise RolloutRefused(
            f"The rule for {name} can never fire: its threshold is {threshold} %."
            " Take at most 100.",
            rule=rule,
        )
    if _waits_for_ever(rule, size) and rule not in DEFAULT_RULES:
        raise RolloutRefused(
            f"The rule for {name} can never fire: it waits for {rule['min_completed']} updates,"
            f" and the rollout has {size} devices. Take a smaller minimum.",
            rule=rule,
        )


def _waits_for_ever(rule: dict[str, Any], size: int) -> bool:
    return 0 < size < int(rule["min_completed"])


def _able(rules: list[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    return [rule for rule in rules if not _waits_for_ever(rule, size)]


def _waiting(rules: list[dict[str, Any]], size: int) -> Iterator[Case]:
    """Yield the rules nobody chose that wait for more devices than there are: said, not hidden."""
    for rule in rules:
        if _waits_for_ever(rule, size):
            words = f"It waits for {rule['min_completed']} updates; the rollout has {size} devices."
            yield Case(f"{rule['failure']} never fires", size, size, "", "", words)


def _cases(rules: list[dict[str, Any]], regression: Regression, size: int) -> Iterator[Case]:
    for rule in rules:
        yield from _at_threshold(rule, size)
    if any(rule["failure"] in (ALL, _FALSE_SUCCESS) for rule in rules):
        yield _false_successes(rules, regression, size)
    if regression.enabled:
        yield from _comparisons(regression)
    healthy = judge(
        rules=rules,
        ends=Ends(completed=size),
        regression=regression,
        evidence=Evidence(updated_worse=size // 20, control_worse=size // 20, ties=size),
    )
    fired = str(healthy.rule.get("failure")) if healthy else ""
    yield Case("healthy cohort", size, 0, "", fired, healthy.reason if healthy else "")


def _at_threshold(rule: dict[str, Any], size: int) -> Iterator[Case]:
    """Yield the fewest failures that have to fire the rule by itself, and one less."""
    kind = rule["failure"]
    failure_class = "install" if kind == ALL else kind
    completed = min(size, max(rule["min_completed"], 100, 1))
    fewest = ceil(rule["threshold_percent"] * completed / 100)
    for name, failed, wanted in [
        (f"{kind} at {rule['threshold_percent']} %", fewest, kind),
        (f"{kind} just below", fewest - 1, ""),
    ]:
        if failed < 0:
            continue
        verdict = judge(
            rules=[rule],
            ends=Ends(completed=completed, failed=Counter({failure_class: failed})),
            regression=Regression(enabled=False),
            evidence=Evidence(),
        )
        fired = str(verdict.rule["failure"]) if verdict else ""
        yield Case(name, completed, failed, wanted, fired, verdict.reason if verdict else "")


def _false_successes(rules: list[dict[str, Any]], regression: Regression, size: int) -> Case:
    """Return that a cohort of nothing but false successes stops the rollout, by whichever rule."""
    verdict = judge(
        rules=rules,
        ends=Ends(completed=size, failed=Counter({_FALSE_SUCCESS: size})),
        regression=regression,
        evidence=Evidence(),
    )
    fired = "any rule" if verdict else ""
    return Case("false successes", size, size, "any rule", fired, verdict.reason if verdict else "")


def _comparisons(regression: Regression) -> Iterator[Case]:
    """Yield the fewest pairs that have to fire the comparison, and one less."""
    pairs = least_pairs(regression.alpha)
    for name, worse, wanted in [
        ("updated devices ill", pairs, REGRESSION),
        ("updated devices ill, just below", pairs - 1, ""),
    ]:
        verdict = judge(
            rules=[],
            ends=Ends(),
            regression=regression,
            evidence=Evidence(updated_worse=worse),
        )
        fired = str(verdict.rule["failure"]) if verdict else ""
        yield Case(name, worse, worse, wanted, fired, verdict.reason if verdict else "")

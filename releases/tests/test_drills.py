"""No rollout starts whose rules cannot stop it."""

from typing import Any

import pytest

from audit.models import AuditEntry
from common import clock
from releases.errors import RolloutRefused
from releases.models import Rollout
from releases.services.drills import rollout_drill
from releases.tests.factories import RolloutFactory, RolloutTargetFactory
from releases.tests.updating import release_of

pytestmark = pytest.mark.django_db


def rollout_of(organization: Any, *, devices: int = 0, **fields: Any) -> Rollout:
    rollout: Rollout = RolloutFactory(
        release=release_of(organization, "2.0.0"), total=devices, **fields
    )
    return rollout


def drilled(rollout: Rollout) -> dict[str, Any]:
    proof = rollout_drill(rollout=rollout, actor=None, now=clock.now()).drill
    assert proof is not None
    return {case["name"]: (case["failed"], case["fired"]) for case in proof["cases"]}


def test_every_rule_fires_at_its_threshold_and_not_below(organization: Any):
    rollout = rollout_of(
        organization,
        failure_rules=[
            {"failure": "all", "threshold_percent": 20, "min_completed": 5},
            {"failure": "space", "threshold_percent": 3, "min_completed": 200},
        ],
    )

    assert drilled(rollout) == {
        "all at 20 %": (20, "all"),
        "all just below": (19, ""),
        "space at 3 %": (6, "space"),
        "space just below": (5, ""),
        "false successes": (1_000, "any rule"),
        "updated devices ill": (13, "regression"),
        "updated devices ill, just below": (12, ""),
        "healthy cohort": (0, ""),
    }
    rollout.refresh_from_db()
    assert rollout.drill is not None
    assert rollout.drill["passed"] is True
    assert AuditEntry.objects.filter(action="rollout.drill").count() == 1


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"threshold_percent": 101, "min_completed": 1}, "its threshold is 101 %"),
        ({"threshold_percent": 10, "min_completed": 4}, "it waits for 4 updates"),
    ],
)
def test_a_rule_that_cannot_fire_is_refused(organization: Any, rule: dict[str, Any], words: str):
    rollout = rollout_of(organization, devices=3, failure_rules=[{"failure": "all", **rule}])

    with pytest.raises(RolloutRefused, match=words):
        drilled(rollout)
    rollout.refresh_from_db()
    assert rollout.drill is None


def test_the_rules_nobody_chose_do_not_keep_a_small_rollout_from_starting(organization: Any):
    cases = drilled(rollout_of(organization, devices=2))

    assert cases["all never fires"] == (2, "")
    assert cases["false_success at 1 %"] == (1, "false_success")


def test_devices_that_are_kept_out_do_not_count(organization: Any):
    rollout = rollout_of(
        organization,
        failure_rules=[{"failure": "all", "threshold_percent": 50, "min_completed": 2}],
    )
    RolloutTargetFactory(rollout=rollout)
    RolloutTargetFactory(rollout=rollout, left_out="held back")

    with pytest.raises(RolloutRefused, match="the rollout has 1 devices"):
        drilled(rollout)


def test_a_plan_without_the_comparison_is_not_tried_on_it(organization: Any):
    assert "updated devices ill" not in drilled(
        rollout_of(organization, regression={"enabled": False})
    )

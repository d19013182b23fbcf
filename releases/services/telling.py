"""Writing what happened to a rollout: for its page, and into the log."""

from datetime import datetime
from typing import Any

from audit import services as audit
from audit.services import Actor
from common import limits
from releases.models import Rollout, RolloutEvent


def rollout_tell(
    rollout: Rollout,
    kind: str,
    message: str,
    *,
    actor: Actor | None,
    now: datetime,
    details: dict[str, Any] | None = None,
) -> None:
    """Add an event to the rollout's history and the entry `rollout.<kind>` to the log."""
    words, details = message[: limits.LINE_CHARS], details or {}
    RolloutEvent.objects.create(
        organization_id=rollout.organization_id,
        rollout=rollout,
        at=now,
        kind=kind,
        message=words,
        details=details,
    )
    audit.record(
        actor=actor,
        organization=rollout.organization,
        action=f"rollout.{kind}",
        target=rollout,
        after={"status": rollout.status, "reason": words, **details},
    )

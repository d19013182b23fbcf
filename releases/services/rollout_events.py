"""What happened to a rollout: a line of its story, an entry in the log, or both at once."""

from datetime import datetime
from typing import Any

from audit import services as audit
from audit.services import Actor
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


def rollout_record(
    rollout: Rollout,
    verb: str,
    *,
    actor: Actor | None,
    before: dict[str, Any] | None = None,
    **after: Any,
) -> None:
    """Write the entry `rollout.<verb>` into the log, with where the rollout stands now."""
    audit.record(
        actor=actor,
        organization=rollout.organization,
        action=f"rollout.{verb}",
        target=rollout,
        before=before,
        after={"status": rollout.status, **after},
    )


def rollout_tell(
    rollout: Rollout,
    kind: str,
    message: str,
    *,
    actor: Actor | None,
    now: datetime,
    **details: Any,
) -> None:
    """Add a line to the story and the entry of the same name to the log."""
    event = event_add(rollout, kind, message, now, **details)
    rollout_record(rollout, kind, actor=actor, reason=event.message, **details)

"""Writing to the log. Called by every service that changes something, in its transaction."""

from typing import Any, Protocol
from uuid import UUID

from django.db import models

from audit.models import AuditEntry
from common.ids import NIL_UUID
from common.request_id import current_request_id


class Actor(Protocol):
    """Whoever acts: a user, an API key or a device."""

    @property
    def kind(self) -> str: ...
    @property
    def actor_id(self) -> str: ...
    @property
    def label(self) -> str: ...


class Owner(Protocol):
    """The organisation an act belongs to."""

    pk: UUID
    slug: str


def record(
    *,
    actor: Actor | None,
    organization: Owner | None,
    action: str,
    target: models.Model | None = None,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Add one entry to the organisation's chain.

    `actor` None is the system, `organization` None the installation itself. `before` and `after`
    hold only what changed, as JSON values, and never a secret. The database sets number, time
    and hashes; until the transaction ends, other acts of the same organisation wait.
    """
    AuditEntry.objects.create(
        organization_id=organization.pk if organization else NIL_UUID,
        organization=organization.slug if organization else "",
        actor_type=actor.kind if actor else "system",
        actor_id=actor.actor_id if actor else "",
        actor=actor.label[:255] if actor else "system",
        action=action,
        target_type=target._meta.model_name or "" if target is not None else "",
        target_id=str(target.pk) if target is not None else "",
        target=str(target)[:255] if target is not None else "",
        before=before,
        after=after,
        request_id=current_request_id()[:64],
    )


def changed(before: dict[str, Any], after: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keep of two snapshots only the names whose values differ."""
    names = [name for name in after if before.get(name) != after[name]]
    return {name: before.get(name) for name in names}, {name: after[name] for name in names}

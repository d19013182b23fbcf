"""What follows when a sweep has ended updates: history, recovery, rollout events, the log."""

from collections import Counter, defaultdict
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from accounts.models import Organization
from audit import services as audit
from common import limits
from common.ids import uuid7
from devices.models import Device, DeviceEvent
from devices.services.recovery import update_failures_forget
from releases.models import DeviceUpdate, RolloutEvent
from releases.services.ends import COUNTED
from releases.services.recovery import (
    recovery_failure_count,
    recovery_redeploy_failed,
    recovery_update_ended,
)

_NAMED = 50
_Severity = DeviceEvent.Severity


class Ended(NamedTuple):
    """One update a sweep has ended; `blamed` says whether the device was there to be blamed."""

    id: int
    organization_id: UUID
    device_id: UUID
    rollout_id: UUID | None
    to_version: str
    status: str
    failure_class: str
    error: str
    blamed: bool

    @property
    def kind(self) -> str:
        if self.failure_class == DeviceUpdate.FailureClass.FALSE_SUCCESS:
            return "false_success"
        return "update_verified" if self.status == "verified" else "update_failed"


def updates_ended(ended: list[Ended], *, now: datetime) -> None:
    """Write what ends of updates mean; the cost is per round, but for devices that failed."""
    if not ended:
        return
    DeviceEvent.objects.bulk_create([_event(one, now) for one in ended], batch_size=1_000)
    _tell_recovery(ended, now=now)
    _tell_rollouts(ended, now=now)
    _record(ended)


def _event(one: Ended, now: datetime) -> DeviceEvent:
    severity = {"update_verified": _Severity.INFO, "false_success": _Severity.ERROR}
    words = f"Update to {one.to_version or '?'} {one.status}"
    return DeviceEvent(
        id=uuid7(),
        organization_id=one.organization_id,
        device_id=one.device_id,
        at=now,
        kind=one.kind,
        severity=severity.get(one.kind, _Severity.WARNING),
        message=(f"{words}: {one.error}" if one.error else words)[: limits.LINE_CHARS],
        details={"update": one.id, "failure_class": one.failure_class},
    )


def _tell_recovery(ended: list[Ended], *, now: datetime) -> None:
    bad = {one.device_id: one for one in ended if one.blamed and one.failure_class in COUNTED}
    for device in Device.objects.filter(pk__in=bad).select_related("organization").order_by("pk"):
        one = bad[device.pk]
        reason = f"Update {one.id} to {one.to_version}: {one.error}"
        recovery_failure_count(device=device, reason=reason, now=now)
    well = [one.device_id for one in ended if one.status == "verified"]
    update_failures_forget(devices=well)
    # Few: deployments that somebody ordered for one device in trouble.
    redeploys = DeviceUpdate.objects.filter(
        pk__in=[one.id for one in ended], kind=DeviceUpdate.Kind.REDEPLOY
    )
    for update in redeploys.order_by("device_id"):
        if update.status == DeviceUpdate.Status.VERIFIED:
            recovery_update_ended(update=update, now=now)
        else:
            recovery_redeploy_failed(update=update, now=now)


def _tell_rollouts(ended: list[Ended], *, now: datetime) -> None:
    counts: dict[tuple[UUID, UUID], Counter[str]] = defaultdict(Counter)
    for one in ended:
        if one.rollout_id is not None:
            counts[one.organization_id, one.rollout_id][one.failure_class or one.status] += 1
    RolloutEvent.objects.bulk_create(
        [
            RolloutEvent(
                organization_id=organization_id,
                rollout_id=rollout_id,
                at=now,
                kind="updates_ended",
                message=_sentence(counted),
                details=dict(counted),
            )
            for (organization_id, rollout_id), counted in counts.items()
        ]
    )


def _sentence(counted: Counter[str]) -> str:
    pieces = [f"{count} {name.replace('_', ' ')}" for name, count in counted.most_common()]
    return f"Updates ended: {', '.join(pieces)}."


def _record(ended: list[Ended]) -> None:
    """Write one entry per organisation and kind of end."""
    grouped: dict[tuple[UUID, str], list[int]] = defaultdict(list)
    for one in ended:
        grouped[one.organization_id, one.status].append(one.id)
    organizations = Organization.objects.in_bulk({key[0] for key in grouped})
    # In one order: two sweeps of the same organisations wait for each other.
    for (organization_id, status), ids in sorted(grouped.items()):
        audit.record(
            actor=None,
            organization=organizations[organization_id],
            action=f"update.{status}",
            target=DeviceUpdate.objects.get(pk=ids[0]) if len(ids) == 1 else None,
            after={"count": len(ids), "updates": ids[:_NAMED]},
        )

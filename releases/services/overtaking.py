"""Ending a claim that nobody will see proved any more: somebody deploys again, or safe mode begins.

A device that needs help before its update has proved itself was not brought to the release. So the
update has failed, and counts as that for the guardrails of its rollout: were it left out, the
releases that people mend by hand would look the best. Its class is what the heartbeats since the
claim have shown.
"""

from datetime import datetime, timedelta

from audit import services as audit
from audit.services import Actor
from common import limits
from devices.models import Device, DeviceEvent, DeviceState
from devices.services.events import event_add
from releases.models import DeviceUpdate
from releases.services.update_rows import moved

_CLAIMED = DeviceUpdate.Status.CLAIMED
_Class = DeviceUpdate.FailureClass
_ILL = [Device.Health.DEGRADED, Device.Health.FAILED]


def claimed_update(device: Device) -> DeviceUpdate | None:
    """Return the update of the device that waits for its proof, if there is one."""
    return DeviceUpdate.objects.filter(device=device, status=_CLAIMED).first()


def claim_overtake(
    *, device: Device, reason: str, actor: Actor | None, now: datetime, is_ill: bool = False
) -> DeviceUpdate | None:
    """End the claimed update of a device as failed; None when it has none.

    `is_ill`: the device itself says that what it runs is not well. To be called in a transaction
    that holds the device.
    """
    # Whoever holds the update waits for the device, perhaps; it is ending by itself then.
    free = DeviceUpdate.objects.select_for_update(of=("self",), skip_locked=True)
    beside = ("device", "organization")
    row = free.select_related(*beside).filter(device=device, status=_CLAIMED).first()
    if row is None:
        return None
    kind = _Class.HEALTH if is_ill else _shown(row)
    moved(
        row,
        status=DeviceUpdate.Status.FAILED,
        failure_class=kind,
        error_code="overtaken",
        error=reason[: limits.COMMAND_ERROR_CHARS],
        finished_at=now,
        deadline_at=None,
    )
    event_add(
        device=device,
        kind="false_success" if kind == _Class.FALSE_SUCCESS else "update_failed",
        severity=DeviceEvent.Severity.WARNING,
        message=f"Update to {row.to_version or '?'} failed: {reason}"[: limits.LINE_CHARS],
        now=now,
        details={"update": row.pk, "failure_class": kind},
    )
    audit.record(
        actor=actor,
        organization=row.organization,
        action="update.failed",
        target=row,
        after={
            "to_version": row.to_version,
            "failure_class": kind,
            "error": row.error[: limits.LINE_CHARS],
        },
    )
    return row


def _shown(row: DeviceUpdate) -> str:
    """Return what the heartbeats since the claim say against it; that it was cut short, else."""
    state = DeviceState.objects.get(device_id=row.device_id)
    if row.claimed_at is None or state.last_seen is None or state.last_seen <= row.claimed_at:
        return _Class.INTERRUPTED
    pace_s = row.device.heartbeat_interval_s or row.organization.heartbeat_interval_s
    is_settled = state.last_seen > row.claimed_at + timedelta(seconds=pace_s)
    if is_settled and row.to_version and state.version not in ("", row.to_version):
        return _Class.FALSE_SUCCESS
    return _Class.HEALTH if state.health in _ILL else _Class.INTERRUPTED

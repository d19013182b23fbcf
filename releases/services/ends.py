"""How an update ends by the device's word, and what that means for the device and the log."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from audit import services as audit
from audit.services import Actor
from common import limits
from devices.models import DeviceEvent
from devices.services.events import event_add
from releases.models import DeviceUpdate
from releases.services.recovery import recovery_failure_count, recovery_redeploy_failed
from releases.services.update_rows import in_words

Status = DeviceUpdate.Status
Failure = DeviceUpdate.FailureClass
Severity = DeviceEvent.Severity
BAD = [Status.FAILED, Status.ROLLED_BACK]
# What speaks against the device or the release on it. A network that is away or an owner who
# refuses brings nobody into safe mode; nor does what was not believed, as whoever stands between
# device and portal could stop applications with it. Nothing was touched, what runs goes on.
COUNTED = frozenset({*Failure.values} - {Failure.NETWORK, Failure.REFUSED, Failure.VERIFICATION})
# Somebody has to look: a device that tells what is not so, or that was told it.
ALARMING = frozenset({Failure.FALSE_SUCCESS, Failure.VERIFICATION})


@dataclass(frozen=True)
class UpdateReport:
    """What a device says; times in seconds by its monotonic clock."""

    status: str
    step: str = ""
    progress: int | None = None
    from_version: str = ""
    from_commit: str = ""
    to_version: str = ""
    to_commit: str = ""
    running_version: str = ""
    failure_class: str = ""
    error_code: str = ""
    error: str = ""
    health_check_passed: bool | None = None
    timings: dict[str, float] = field(default_factory=dict)


def failure(report: UpdateReport) -> dict[str, Any]:
    """Return the columns of a failure; one without a class is told by its health check."""
    unhealthy = report.health_check_passed is False
    return {
        "failure_class": report.failure_class or (Failure.HEALTH if unhealthy else Failure.INSTALL),
        "error_code": report.error_code,
        "error": report.error,
    }


def update_failed(row: DeviceUpdate, *, actor: Actor, now: datetime) -> None:
    """Write the bad end of an update by the device's word: history, audit, recovery."""
    false_success = row.failure_class == Failure.FALSE_SUCCESS
    event_add(
        device=row.device,
        kind="false_success" if false_success else "update_failed",
        severity=Severity.ERROR if row.failure_class in ALARMING else Severity.WARNING,
        message=f"Update to {row.to_version or '?'} {in_words(row)}: {row.error}",
        now=now,
        details={"update": row.pk, **_why(row)},
    )
    if row.failure_class in COUNTED:
        reason = f"Update {row.pk} to {row.to_version}: {row.error or row.failure_class}"
        recovery_failure_count(device=row.device, reason=reason, now=now)
    if row.kind == DeviceUpdate.Kind.REDEPLOY:
        recovery_redeploy_failed(update=row, now=now)
    update_record(row, actor=actor)


def update_record(row: DeviceUpdate, *, actor: Actor) -> None:
    """Write the claim or the bad end of an update into the log."""
    failed = {**_why(row), "error": row.error[: limits.LINE_CHARS]}
    audit.record(
        actor=actor,
        organization=row.organization,
        action=f"update.{row.status}",
        target=row,
        after={"to_version": row.to_version, **(failed if row.status in BAD else {})},
    )


def _why(row: DeviceUpdate) -> dict[str, str]:
    return {"failure_class": row.failure_class, "error_code": row.error_code}

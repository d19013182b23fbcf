"""What a device says of the attempt it was handed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from audit import services as audit
from audit.services import Actor
from commands.models import ENDED, Command, CommandAttempt
from commands.services.retries import next_attempt_at
from commands.services.rows import does_not_fit, locked, moved
from common import limits
from devices.models import DeviceEvent
from devices.services.events import event_add
from devices.services.registry import device_update

# Keys of fleet.conf the portal keeps too.
ADOPTED = {
    "HEARTBEAT_INTERVAL": "heartbeat_interval_s",
    "COMMAND_POLL_INTERVAL": "command_poll_interval_s",
}


@dataclass(frozen=True)
class Report:
    """What a device says about a command it was handed.

    `step_timeout_s` is how long the next step may take; -1 ends the timer, None leaves it.
    """

    status: str
    attempt: int
    result: dict[str, Any] | None = None
    error: str = ""
    error_code: str = ""
    failure_class: str = ""
    output: str = ""
    step_timeout_s: int | None = None


@transaction.atomic
def command_report(*, command: Command, report: Report, actor: Actor, now: datetime) -> Command:
    """Write what the device says of an attempt.

    A failure puts the command back into the queue while its retry policy has another attempt.
    The same report twice is accepted and changes nothing; one of another attempt, or one that
    the command's state does not allow, raises TransitionRefused with the present state.
    """
    row = locked(command)
    if not _in_flight(row, report.attempt):
        if _said_before(row, report):
            return row
        raise does_not_fit(row, f"a report of “{report.status}”", report.attempt)
    if report.status == Command.Status.RUNNING:
        _begin(row, report, actor=actor, now=now)
    elif report.status == Command.Status.CANCELLED and row.cancel_requested_at is None:
        raise does_not_fit(row, "a cancellation nobody asked for,", report.attempt)
    else:
        _finish(row, report, actor=actor, now=now)
    return row


def _in_flight(row: Command, attempt: int) -> bool:
    return row.attempt == attempt and row.status in ("delivered", "running")


def _said_before(row: Command, report: Report) -> bool:
    """Say whether the attempt ended with just this. The command may have ended otherwise since."""
    if report.status not in ENDED:
        return False
    attempts = CommandAttempt.objects.filter(command=row, number=report.attempt)
    return attempts.filter(outcome=report.status).exists()


def _begin(row: Command, report: Report, *, actor: Actor, now: datetime) -> None:
    """The attempt has begun; said again, only the timer of the step moves."""
    begins = row.status == Command.Status.DELIVERED
    deadline = now + timedelta(seconds=row.run_timeout_s) if begins else row.run_deadline
    changes: dict[str, Any] = {
        "step_deadline": step_deadline(row, report.step_timeout_s, run_deadline=deadline, now=now)
    }
    if begins:
        changes |= {
            "status": Command.Status.RUNNING,
            "started_at": now,
            "run_deadline": deadline,
            "lease_expires_at": None,
        }
    elif changes["step_deadline"] == row.step_deadline:
        return
    moved(row, "device", **changes)
    if begins:
        _record(row, actor=actor)


def step_deadline(
    row: Command, step_timeout_s: int | None, *, run_deadline: datetime | None, now: datetime
) -> datetime | None:
    """Return the moment the step has to be done by: never past the end of the whole run."""
    if step_timeout_s is None:
        return row.step_deadline
    if step_timeout_s < 0:
        return None
    wanted = now + timedelta(seconds=step_timeout_s)
    return min(wanted, run_deadline) if run_deadline else wanted


def _finish(row: Command, report: Report, *, actor: Actor, now: datetime) -> None:
    failure_class = {"failed": report.failure_class or "failed", "rejected": "rejected"}.get(
        report.status, ""
    )
    changes: dict[str, Any] = {
        "result": report.result,
        "error": report.error,
        "error_code": report.error_code,
        "failure_class": failure_class,
        "output": report.output,
        "lease_expires_at": None,
        "run_deadline": None,
        "step_deadline": None,
    }
    again = next_attempt_at(row, failure_class=failure_class, now=now)
    if again:
        moved(row, "device", status="queued", not_before=again, started_at=None, **changes)
        _record(row, actor=actor, action="command.retry_later")
        return
    moved(row, "device", status=report.status, finished_at=now, cancel_deadline=None, **changes)
    _record(row, actor=actor)
    _tell(row, actor=actor, now=now)


@transaction.atomic
def command_renew(
    *, command: Command, attempt: int, step_timeout_s: int | None, now: datetime
) -> Command:
    """Say that the device still works on the attempt.

    Before it has begun this renews the lease, as long as the command has not expired; afterwards
    it moves the timer of the step. Raises TransitionRefused.
    """
    row = locked(command)
    if not _in_flight(row, attempt):
        raise does_not_fit(row, "a renewal", attempt)
    if row.status == Command.Status.RUNNING:
        deadline = step_deadline(row, step_timeout_s, run_deadline=row.run_deadline, now=now)
        if deadline != row.step_deadline:
            moved(row, "device", step_deadline=deadline)
    elif now < row.expires_at:
        moved(row, "device", lease_expires_at=now + limits.COMMAND_LEASE)
    return row


def _adopt_pace(*, command: Command, actor: Actor, now: datetime) -> None:
    """Take over the pace a `config` command gave the device: the portal's answers set it."""
    changes = {
        ADOPTED[key]: int(value)
        for key, value in command.payload.get("changes", {}).items()
        if key in ADOPTED and value.isdigit()
    }
    bounded = {
        name: value
        for name, value in changes.items()
        if limits.HEARTBEAT_INTERVAL_MIN_S <= value <= limits.HEARTBEAT_INTERVAL_MAX_S
    }
    if bounded:
        device_update(device=command.device, changes=bounded, actor=actor, now=now)


def _record(row: Command, *, actor: Actor, action: str = "") -> None:
    audit.record(
        actor=actor,
        organization=row.organization,
        action=action or f"command.{row.status}",
        target=row,
        after={"attempt": row.attempt, **({"error": row.error} if row.error else {})},
    )


def _tell(row: Command, *, actor: Actor, now: datetime) -> None:
    """Write the end of a command into the history of its device."""
    went_well = row.status == Command.Status.SUCCEEDED
    if went_well and row.kind == "config":
        _adopt_pace(command=row, actor=actor, now=now)
    event_add(
        device=row.device,
        kind="command",
        severity=DeviceEvent.Severity.INFO if went_well else DeviceEvent.Severity.WARNING,
        message=f"{row.kind} {row.status}" + (f": {row.error}" if row.error else ""),
        now=now,
        details={"command": str(row.pk)},
    )

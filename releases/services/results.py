"""What a device says about an update: every step, and how it ended by its own word."""

from datetime import datetime
from typing import Any

from django.db import transaction

from audit.services import Actor
from devices.models import Device
from releases.errors import UpdateConflict
from releases.models import ENDED, MOVES, OPEN, WAITING, DeviceUpdate
from releases.services.ends import (
    BAD,
    Failure,
    Status,
    UpdateReport,
    failure,
    update_failed,
    update_record,
)
from releases.services.own_updates import own_update_add
from releases.services.update_rows import (
    in_words,
    locked,
    moved,
    offer_deadline,
    proof_deadline,
)


@transaction.atomic
def update_report(
    *,
    device: Device,
    update: DeviceUpdate | None,
    report: UpdateReport,
    actor: Actor,
    now: datetime,
) -> DeviceUpdate:
    """Write what the device says; return the update as it is then.

    The same report twice is accepted and changes nothing. Raises UpdateConflict with the present
    `update_status` for a step that is not allowed any more. A report that names no update
    belongs to the open one of the same commit or version; without one it is the device's own.
    """
    update = update or _meant(device, report)
    if update is None:
        return own_update_add(device=device, report=report, actor=actor, now=now)
    row = locked(update)
    if _said_before(row, report):
        return row
    steps = _way(row.status, report.status)
    if not steps:
        raise UpdateConflict(
            f"Update {row.pk} is {in_words(row)}; a report of"
            f" “{report.status}” does not fit. Ask for the update again.",
            update_status=row.status,
        )
    for status in steps[:-1]:
        moved(row, status=status)
    moved(row, **_changes(row, report, now=now))
    _follow(row, report, actor=actor, now=now)
    return row


def _meant(device: Device, report: UpdateReport) -> DeviceUpdate | None:
    """Return the open update the report speaks of when it names none."""
    for row in DeviceUpdate.objects.filter(device=device, status__in=OPEN):
        same_version = bool(report.to_version) and report.to_version == row.to_version
        if same_version or _same_commit(report.to_commit, row.to_commit):
            return row
    return None


def _same_commit(one: str, other: str) -> bool:
    short, long = sorted([one.lower(), other.lower()], key=len)
    return len(short) >= 7 and long.startswith(short)


def _said_before(row: DeviceUpdate, report: UpdateReport) -> bool:
    """Say whether the device said this before; the sweeps may have decided otherwise since."""
    if report.status == Status.CLAIMED:
        return row.claimed_at is not None
    return row.status in ENDED and row.status == report.status


def _way(present: str, wanted: str) -> list[str]:
    """Return the states to go through; empty when there is no way.

    A report that was lost on its way does not make the next one wrong: who waits for
    confirmation has installed.
    """
    if present == wanted or wanted in MOVES.get(present, []):
        return [wanted]
    if present in WAITING and wanted == Status.AWAITING_CONFIRMATION:
        return [Status.INSTALLING, wanted]
    if present == Status.SCHEDULED and wanted == Status.ROLLED_BACK:
        return [Status.INSTALLING, wanted]
    return []


def _changes(row: DeviceUpdate, report: UpdateReport, *, now: datetime) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "status": report.status,
        "step": report.step,
        "progress": report.progress,
        "timings": {**row.timings, **report.timings},
        "started_at": row.started_at or now,
    }
    if row.from_version == "" and report.from_version:
        changes["from_version"] = report.from_version
    if report.health_check_passed is not None:
        changes["health_check_passed"] = report.health_check_passed
    if report.status in BAD:
        return changes | failure(report) | {"finished_at": now, "deadline_at": None}
    if report.status == Status.CLAIMED:
        changes |= {"claimed_at": now, "deadline_at": proof_deadline(row, now)}
    elif row.deadline_at is None:
        changes["deadline_at"] = offer_deadline(row, now)
    return changes


def _follow(row: DeviceUpdate, report: UpdateReport, *, actor: Actor, now: datetime) -> None:
    """Write what an end, or a claim, means for the device and the log."""
    if row.status == Status.CLAIMED and _contradicts(row, report):
        words = f"It claimed {row.to_version}, and said that it runs {report.running_version}."
        moved(
            row,
            status=Status.FAILED,
            failure_class=Failure.FALSE_SUCCESS,
            error=words,
            finished_at=now,
            deadline_at=None,
        )
    if row.status == Status.CLAIMED:
        update_record(row, actor=actor)
    elif row.status in BAD:
        update_failed(row, actor=actor, now=now)


def _contradicts(row: DeviceUpdate, report: UpdateReport) -> bool:
    return bool(report.running_version) and report.running_version != row.to_version != ""

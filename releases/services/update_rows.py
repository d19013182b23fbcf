"""The row of an update, locked, and the one way to move it."""

from datetime import datetime, timedelta
from typing import Any

from common import limits
from releases.errors import UpdateConflict
from releases.models import DeviceUpdate, Rollout


def locked(update: DeviceUpdate) -> DeviceUpdate:
    """Return the update as it is now; until the transaction ends nobody else moves it."""
    rows = DeviceUpdate.objects.select_for_update(of=("self",))
    beside = ("device", "organization", "rollout", "release", "artifact__release")
    return rows.select_related(*beside).get(pk=update.pk)


def moved(row: DeviceUpdate, **changes: Any) -> None:
    """Write `changes` where the update is still as `row` says; a trigger writes its trail.

    Raises UpdateConflict when it has moved meanwhile.
    """
    if not DeviceUpdate.objects.filter(pk=row.pk, status=row.status).update(**changes):
        raise UpdateConflict(
            f"Update {row.pk} has just moved. Ask for the update again.", update_status=row.status
        )
    for name, value in changes.items():
        setattr(row, name, value)


def offer_deadline(row: DeviceUpdate, now: datetime) -> datetime:
    """Return until when the device has to have claimed it."""
    plan = row.rollout
    minutes = plan.update_timeout_minutes if plan else limits.UPDATE_TIMEOUT_MINUTES
    return now + timedelta(minutes=minutes)


def proof_deadline(row: DeviceUpdate, now: datetime) -> datetime:
    """Return until when a claim has to be proved: two heartbeats always have time to come."""
    plan = row.rollout
    minutes = plan.verify_timeout_minutes if plan else limits.VERIFY_TIMEOUT_MINUTES
    pace_s = row.device.heartbeat_interval_s or row.organization.heartbeat_interval_s
    least = timedelta(minutes=row.verify_minutes, seconds=2 * pace_s)
    return now + max(timedelta(minutes=minutes), least)


def in_words(row: DeviceUpdate | Rollout) -> str:
    """Return the present state as a sentence names it."""
    return row.status.replace("_", " ")

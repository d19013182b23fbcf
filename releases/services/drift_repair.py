"""Putting files back: asked for by people, or by itself within the organisation's budget."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts.models import Organization
from audit import services as audit
from audit.services import Actor
from commands.models import Command
from commands.services import command_queue
from common.db import only_one_runs
from common.errors import DomainError
from devices.models import Device, DriftReport
from releases.errors import RecoveryRefused, UpdateConflict
from releases.kinds import DRIFT_REPAIR
from releases.models import OPEN, WORKING, DeviceUpdate
from releases.services.sweeping import DRIFT

BUDGET_SPAN = timedelta(hours=1)


@transaction.atomic
def drift_repair(
    *, report: DriftReport, actor: Actor, now: datetime, paths: Sequence[str] = ()
) -> Command:
    """Tell a device to put back the named files of an open report, or all that differ.

    Raises RecoveryRefused when there is nothing to repair, it is under way already, or the device
    is in safe mode, and UpdateConflict while an update is installed.
    """
    row = DriftReport.objects.select_for_update(of=("self",)).get(pk=report.pk)
    device = Device.objects.select_related("organization").get(pk=row.device_id)
    _check_report(row, paths)
    _check_device(device)
    return _repair(row, device, actor=actor, now=now, paths=list(paths))


def _check_report(report: DriftReport, paths: Sequence[str]) -> None:
    if report.resolved_at is not None:
        raise RecoveryRefused("The files are as they should be again; there is nothing to repair.")
    if _under_way(report):
        raise RecoveryRefused(
            f"Command {report.repair_command_id} repairs this already. Wait for it to end.",
            command_id=str(report.repair_command_id),
        )
    unknown = sorted(set(paths) - {item["path"] for item in report.items})
    if unknown:
        raise RecoveryRefused(f"{unknown[0][:200]} is not among the files of this report.")


def _under_way(report: DriftReport) -> bool:
    asked = report.repair_command_id
    return asked is not None and Command.objects.filter(pk=asked).open().exists()


def _check_device(device: Device) -> None:
    if device.safe_mode:
        raise RecoveryRefused(
            f"{device.device_id} is in safe mode. Deploy a release on it instead of mending files."
        )
    # Of a claimed update the files are in their places: mending them does not disturb its proof.
    busy = DeviceUpdate.objects.filter(device=device, status__in=WORKING).first()
    if busy is not None:
        raise UpdateConflict(
            f"{device.device_id} is {busy.get_status_display()} {busy.to_version}. Wait until that"
            " has ended; its files change with it.",
            update_status=busy.status,
            update_id=busy.pk,
        )


def _repair(
    report: DriftReport, device: Device, *, actor: Actor, now: datetime, paths: list[str]
) -> Command:
    command = command_queue(
        device=device,
        kind=DRIFT_REPAIR,
        payload={"paths": paths} if paths else {},
        actor=actor,
        now=now,
        source="sweep" if actor is DRIFT else "api",
    )
    note = f"Repair asked for by {actor.label}."[:255]
    DriftReport.objects.filter(pk=report.pk).update(repair_command_id=command.pk, repair_note=note)
    audit.record(
        actor=actor,
        organization=device.organization,
        action="drift.repair",
        target=report,
        after={"device": device.device_id, "command": str(command.pk), "count": report.count},
    )
    return command


@transaction.atomic
def drifts_repair(*, now: datetime) -> dict[str, int]:
    """Repair open reports where the organisation wants it; return how many were and were not.

    At most `drift_repairs_per_hour` devices in any hour, oldest drift first; never one that is in
    maintenance, in safe mode, in quarantine or has an open update. What is held back says why. A
    report is repaired by itself once: drift that comes back needs a person.
    """
    done = {"repaired": 0, "refused": 0}
    if not only_one_runs("releases.drifts_repair"):
        return done
    open_reports = DriftReport.objects.filter(resolved_at__isnull=True)
    wanted = Organization.objects.filter(
        Exists(open_reports.filter(organization=OuterRef("pk"))), drift_auto_repair=True
    )
    for organization in wanted.order_by("pk"):
        reports = open_reports.filter(organization=organization)
        ready = _unrepaired(reports).exclude(_hold_back(reports))
        budget = organization.drift_repairs_per_hour
        left = max(budget - _repaired_lately(organization, now), 0)
        oldest = ready.select_related("device__organization").order_by("first_at", "pk")
        for report in oldest[: left + 1]:
            if left == 0:
                _note(ready, f"Waits: {budget} devices were repaired within an hour.")
                break
            left -= 1
            done["repaired" if _try_repair(report, now=now) else "refused"] += 1
    return done


def _hold_back(reports: QuerySet[DriftReport]) -> Q:
    """Note why reports wait, and return which are held back for another reason than the budget."""
    busy = Exists(DeviceUpdate.objects.filter(device=OuterRef("device"), status__in=OPEN))
    reasons: list[tuple[Q, str]] = [
        (Q(device__maintenance_mode=True), "Waits: the device is in maintenance."),
        (Q(device__safe_mode=True), "Waits: the device is in safe mode."),
        (~Q(device__lifecycle=Device.Lifecycle.ACTIVE), "Waits: the device is not active."),
        (Q(busy), "Waits: an update of the device is open."),
    ]
    held = Q(pk__in=[])
    for reason, note in reasons:
        _note(_unrepaired(reports).filter(reason).exclude(held), note)
        held |= reason
    came_back = Command.objects.filter(
        pk=OuterRef("repair_command_id"), finished_at__lt=OuterRef("last_at")
    ).exclude(status=Command.Status.EXPIRED)
    _note(reports.filter(Exists(came_back)), "Repaired once, and it differs again: look at it.")
    return held


def _unrepaired(reports: QuerySet[DriftReport]) -> QuerySet[DriftReport]:
    """Return reports nobody repaired, and those whose device never began to."""
    never_begun = Command.objects.filter(
        pk=OuterRef("repair_command_id"), status=Command.Status.EXPIRED
    )
    return reports.filter(Q(repair_command_id__isnull=True) | Exists(never_begun))


def _repaired_lately(organization: Organization, now: datetime) -> int:
    """Count what was repaired by itself within the last hour."""
    since = now - BUDGET_SPAN
    # Ids are ordered by time and indexed; a few minutes are left for clocks that differ.
    first = UUID(int=int((since - timedelta(minutes=5)).timestamp() * 1000) << 80)
    repairs = Command.objects.filter(
        organization=organization, pk__gte=first, kind=DRIFT_REPAIR, created_by=DRIFT.label
    )
    return repairs.filter(created_at__gt=since).count()


def _try_repair(report: DriftReport, *, now: datetime) -> bool:
    try:
        with transaction.atomic():
            _repair(report, report.device, actor=DRIFT, now=now, paths=[])
    except DomainError as refusal:
        _note(DriftReport.objects.filter(pk=report.pk), f"Waits: {refusal.message}"[:255])
        return False
    return True


def _note(reports: QuerySet[DriftReport], note: str) -> None:
    reports.exclude(repair_note=note).update(repair_note=note)

"""Deploying a release again on a device that went wrong."""

from datetime import datetime
from typing import Any

from django.db import transaction

from audit import services as audit
from audit.services import Actor
from common import limits
from devices.models import Device, DeviceRecovery, DeviceState
from devices.services.recovery import device_quarantine_end, recovery_lock
from releases.errors import RecoveryRefused, UpdateConflict
from releases.models import Artifact, DeviceUpdate, Release
from releases.services.overtaking import claim_overtake
from releases.services.waiting import open_update, updates_take_back

_WENT_WRONG = [DeviceUpdate.Status.FAILED, DeviceUpdate.Status.ROLLED_BACK]


@transaction.atomic
def recovery_redeploy(
    *, device: Device, release: Release, actor: Actor, now: datetime, force_reason: str = ""
) -> DeviceUpdate:
    """Schedule a release for a device that is in safe mode, in quarantine, or failed.

    Its newest diagnostics have to say that all checks passed; `force_reason` goes past that and is
    kept in the log. What waits for the device is cancelled, a claim that is not proved yet has
    failed, its quarantine ends; safe mode ends when the update is verified. Raises RecoveryRefused,
    which says what is missing, and UpdateConflict while the device installs another update.
    """
    recovery = recovery_lock(device)
    artifact = _artifact(device, release)
    _check_device(device, recovery, release=release, now=now)
    if not force_reason:
        _check_diagnostics(device, recovery)
    why = f"{release.version} is deployed again."
    updates_take_back(device=device, reason=why, now=now)
    claim_overtake(device=device, reason=f"Not proved yet when {why}", actor=actor, now=now)
    _check_idle(device)
    was_quarantined = device.lifecycle == Device.Lifecycle.QUARANTINED
    if was_quarantined:
        reason = f"{release.version} is deployed again"
        device_quarantine_end(device=device, reason=reason, actor=actor, now=now)
    update = update_schedule(
        device=device,
        release=release,
        artifact=artifact,
        kind=DeviceUpdate.Kind.REDEPLOY,
        reason=force_reason,
        created_by=actor.label,
        now=now,
    )
    audit.record(
        actor=actor,
        organization=device.organization,
        action="recovery.redeploy",
        target=device,
        after={
            "version": release.version,
            "update": update.pk,
            "checks_passed": recovery.checks_passed,
            **({"force_reason": force_reason} if force_reason else {}),
        },
    )
    return update


def update_schedule(
    *,
    device: Device,
    release: Release,
    artifact: Artifact,
    kind: str,
    reason: str,
    created_by: str,
    now: datetime,
) -> DeviceUpdate:
    """Make the update of one device that somebody chose for it, and say what it should run."""
    state = DeviceState.objects.get(device=device)
    update = DeviceUpdate.objects.create(
        organization_id=device.organization_id,
        device=device,
        release=release,
        artifact=artifact,
        kind=kind,
        segment=device.segment,
        from_version=state.version,
        from_commit=state.commit,
        to_version=release.version,
        to_commit=release.commit,
        scheduled_at=now,
        created_by=created_by[: limits.LINE_CHARS],
        reason=reason[: limits.LINE_CHARS],
    )
    Device.objects.filter(pk=device.pk).update(target_version=release.version)
    return update


def artifact_for(device: Device, release: Release) -> Artifact | None:
    """Return the bundle the device gets of the release: its role's own, else every role's."""
    stored = release.artifacts.stored().filter(role__in=["", device.role])
    artifact: Artifact | None = stored.order_by("-role").first()
    return artifact


def _artifact(device: Device, release: Release) -> Artifact:
    if release.state != Release.State.PUBLISHED:
        raise RecoveryRefused(
            f"Release {release.version} is {release.state}. Choose a published one.",
        )
    if release.roles and device.role not in release.roles:
        raise RecoveryRefused(
            f"Release {release.version} is for {', '.join(release.roles)};"
            f" {device.device_id} is “{device.role}”. Choose a release of its role."
        )
    artifact = artifact_for(device, release)
    if artifact is None:
        raise RecoveryRefused(
            f"Release {release.version} has no bundle for “{device.role}” any more."
            " Choose another release."
        )
    return artifact


def _check_device(
    device: Device, recovery: DeviceRecovery, *, release: Release, now: datetime
) -> None:
    if device.lifecycle not in (Device.Lifecycle.ACTIVE, Device.Lifecycle.QUARANTINED):
        raise RecoveryRefused(f"{device.device_id} is {device.lifecycle} and takes no updates.")
    locked_to = device.locked_to(now)
    if locked_to and locked_to != release.version:
        raise RecoveryRefused(
            f"{device.device_id} is locked to {locked_to} by {device.version_lock_owner}."
            " Lift the lock first, or deploy that version."
        )
    aside = device.safe_mode or device.lifecycle == Device.Lifecycle.QUARANTINED
    if not aside and not _has_failed(device, recovery):
        raise RecoveryRefused(
            f"{device.device_id} is not in safe mode, not in quarantine and has not failed."
            " Send it an update command instead."
        )


def _has_failed(device: Device, recovery: DeviceRecovery) -> bool:
    if recovery.failures or DeviceState.objects.filter(device=device, health="failed").exists():
        return True
    ended = DeviceUpdate.objects.filter(device=device).exclude(status="cancelled")
    last = ended.order_by("-pk").first()
    return last is not None and last.status in _WENT_WRONG


def _check_diagnostics(device: Device, recovery: DeviceRecovery) -> None:
    if recovery.checks_passed:
        return
    if recovery.checks_passed is None:
        raise RecoveryRefused(
            f"{device.device_id} has not sent diagnostics with checks since it went wrong."
            " Wait for them, or deploy with `force_reason`.",
            failed_checks=[],
        )
    failed = failed_checks(recovery.diagnostics)
    raise RecoveryRefused(
        f"These checks of {device.device_id} did not pass: {', '.join(failed)}."
        " Mend them, or deploy with `force_reason`.",
        failed_checks=failed,
    )


def failed_checks(diagnostics: dict[str, Any] | None) -> list[str]:
    """Return the names of the checks that did not pass."""
    checks = (diagnostics or {}).get("checks") or []
    return [str(check["name"]) for check in checks if not check["passed"]]


def _check_idle(device: Device) -> None:
    busy = open_update(device)
    if busy is not None:
        until = f", at {busy.deadline_at:%H:%M} UTC at the latest" if busy.deadline_at else ""
        raise UpdateConflict(
            f"{device.device_id} is {busy.get_status_display()} {busy.to_version}."
            f" Wait until that has ended{until}.",
            update_status=busy.status,
            update_id=busy.pk,
        )

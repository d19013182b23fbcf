"""The way back: every device a rollout updated gets the release it ran before.

That an unfinished way back is under way is written in `Rollout.evidence["rollback"]`; the sweep
takes the rest in chunks, and takes along what was in flight and ends as claimed meanwhile.
"""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F, Q

from audit.services import Actor
from common import limits
from devices.models import Device
from releases.models import OPEN, Artifact, DeviceUpdate, Release, Rollout, RolloutTarget
from releases.services.rollout_events import rollout_tell

Status = Rollout.Status
_CLAIMED = DeviceUpdate.Status.CLAIMED
_NAMED = 50
_WORDS = "The rollout is rolled back."


def is_rolling_back(rollout: Rollout) -> bool:
    """Say whether devices of the rollout are on their way back: it cannot be resumed then."""
    return "rollback" in rollout.evidence


@transaction.atomic
def rollback_begin(*, rollout: Rollout, reason: str, actor: Actor | None, now: datetime) -> None:
    """Note that the rollout goes back, and send the first devices."""
    begun = {
        "reason": reason[: limits.LINE_CHARS],
        "by": actor.label[: limits.LINE_CHARS] if actor else "system",
        "at": now.isoformat(),
        "without": 0,
        "named": [],
    }
    _write(rollout, begun)
    rollout_tell(rollout, "rollback", reason, actor=actor, now=now)
    _step(rollout, actor=actor, now=now)


def rollbacks_advance(*, now: datetime) -> int:
    """Take every unfinished way back one chunk further; return how many devices were sent."""
    going = Rollout.objects.filter(
        status__in=[Status.HALTED, Status.COMPLETED], evidence__has_key="rollback"
    )
    return sum(_advanced(pk, now=now) for pk in list(going.values_list("pk", flat=True)))


@transaction.atomic
def _advanced(pk: Any, *, now: datetime) -> int:
    rows = Rollout.objects.select_for_update(skip_locked=True, of=("self",))
    rollout = rows.select_related("organization").filter(pk=pk).first()
    if rollout is None or rollout.status == Status.ROLLED_BACK:
        return 0
    return _step(rollout, actor=None, now=now)


def _step(rollout: Rollout, *, actor: Actor | None, now: datetime) -> int:
    targets = list(_left(rollout)[: limits.ROLLOUT_CHUNK])
    if targets:
        return _send(rollout, targets, now=now)
    if not DeviceUpdate.objects.filter(rollout=rollout, status__in=OPEN).exists():
        _finish(rollout, actor=actor, now=now)
    return 0


def _left(rollout: Rollout) -> Any:
    """Return targets that run the release by their word, or by their heartbeats, and stay so."""
    runs = Q(update__status__in=[_CLAIMED, DeviceUpdate.Status.VERIFIED]) | Q(
        update__status=DeviceUpdate.Status.FAILED, device__state__version=F("update__to_version")
    )
    targets = RolloutTarget.objects.filter(
        runs, rollout=rollout, update__kind=DeviceUpdate.Kind.ROLLOUT, left_out=""
    )
    return targets.select_related("device", "update").order_by("pk")


def _send(rollout: Rollout, targets: list[RolloutTarget], *, now: datetime) -> int:
    ways = _ways(rollout, targets)
    sent = [target for target in targets if target.pk in ways]
    claimed = [_latest(target).pk for target in sent if _latest(target).status == _CLAIMED]
    # One open update per device: a claim that nobody has proved yet ends here.
    DeviceUpdate.objects.filter(pk__in=claimed, status=_CLAIMED).update(
        status=DeviceUpdate.Status.ROLLED_BACK, finished_at=now, deadline_at=None, error=_WORDS
    )
    by = rollout.evidence["rollback"]
    made = DeviceUpdate.objects.bulk_create(
        [_way_back(target, *ways[target.pk], by=by, now=now) for target in sent]
    )
    for target, update in zip(sent, made, strict=True):
        target.update = update
        target.device.target_version = update.to_version
    RolloutTarget.objects.bulk_update(sent, ["update"], batch_size=500)
    Device.objects.bulk_update([one.device for one in sent], ["target_version"], batch_size=500)
    stay = [target for target in targets if target.pk not in ways]
    if stay:
        _leave(rollout, stay)
    return len(sent)


def _latest(target: RolloutTarget) -> DeviceUpdate:
    """Return the update of a target that `_left` gave: it has one."""
    if target.update is None:
        raise LookupError(f"target {target.pk} has no update")
    return target.update


def _way_back(
    target: RolloutTarget, release: Release, artifact: Artifact, *, by: Any, now: datetime
) -> DeviceUpdate:
    before = _latest(target)
    return DeviceUpdate(
        organization_id=target.organization_id,
        device=target.device,
        rollout_id=target.rollout_id,
        release=release,
        artifact=artifact,
        kind=DeviceUpdate.Kind.ROLLBACK,
        segment=target.segment,
        from_version=before.to_version,
        from_commit=before.to_commit,
        to_version=release.version,
        to_commit=release.commit,
        verify_minutes=before.verify_minutes,
        scheduled_at=now,
        created_by=by["by"],
        reason=by["reason"],
    )


def _ways(rollout: Rollout, targets: list[RolloutTarget]) -> dict[int, tuple[Release, Artifact]]:
    """Return for each target the published release it ran before, and a bundle that is kept."""
    versions = {_latest(target).from_version for target in targets}
    kept = (
        Artifact.objects.stored()
        .filter(
            organization_id=rollout.organization_id,
            release__version__in=versions,
            release__state=Release.State.PUBLISHED,
        )
        .select_related("release")
    )
    bundles = {(one.release.version, one.role): one for one in kept}
    ways = {}
    for target in targets:
        version = _latest(target).from_version
        found = bundles.get((version, target.device.role)) or bundles.get((version, ""))
        if found is not None:
            ways[target.pk] = (found.release, found)
    return ways


def _leave(rollout: Rollout, stay: list[RolloutTarget]) -> None:
    """Count and name targets without a way back, and do not look at them again."""
    ids = [target.pk for target in stay]
    RolloutTarget.objects.filter(pk__in=ids).update(
        left_out="has no way back: the release it ran before is not kept"
    )
    before = rollout.evidence["rollback"]
    named = [*before["named"], *(target.device.device_id for target in stay)][:_NAMED]
    _write(rollout, {**before, "without": before["without"] + len(stay), "named": named})


def _finish(rollout: Rollout, *, actor: Actor | None, now: datetime) -> None:
    going = rollout.evidence["rollback"]
    Rollout.objects.filter(pk=rollout.pk, status__in=[Status.HALTED, Status.COMPLETED]).update(
        status=Status.ROLLED_BACK, finished_at=rollout.finished_at or now
    )
    rollout.refresh_from_db()
    without = f"; {going['without']} have no way back" if going["without"] else ""
    rollout_tell(
        rollout,
        "rolled_back",
        f"Every device that could go back has ended{without}.",
        actor=actor,
        now=now,
        without=going["without"],
        named=going["named"],
    )


def _write(rollout: Rollout, rollback: dict[str, Any]) -> None:
    rollout.evidence = {**rollout.evidence, "rollback": rollback}
    rollout.save(update_fields=["evidence"])

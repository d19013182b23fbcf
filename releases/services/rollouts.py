"""Rollouts, and what people do with them. The sweep does the rest."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from accounts.principals import Principal
from audit import services as audit
from audit.services import Actor
from common import limits
from common.errors import NotAllowed
from common.ids import uuid7
from devices.models import Device
from releases.errors import RolloutApprovalRefused, RolloutConflict, RolloutRefused
from releases.models import (
    DeviceUpdate,
    Release,
    Rollout,
    RolloutStage,
    RolloutTarget,
)
from releases.services.drills import rollout_drill
from releases.services.manifests import reach_of
from releases.services.plans import Plan
from releases.services.rollbacks import is_rolling_back
from releases.services.rollout_events import event_add, rollout_record
from releases.services.targets import chosen_of, selected, targets_add
from releases.trust.paths import trust_of

Status = Rollout.Status
# What a pause holds: nothing has been changed on the device yet.
HELD = ["scheduled", "offered", "downloading"]


@transaction.atomic
def rollout_create(
    *, release: Release, name: str, plan: Plan, principal: Principal, now: datetime
) -> Rollout:
    """Write a plan down as a draft; nothing is sent and nobody is chosen for good.

    Raises SelectionRefused, RolloutRefused, and RolloutConflict while the release has a rollout
    that has not ended.
    """
    _unlimited(principal)
    _check(plan, principal, now)
    rollout = Rollout(
        id=uuid7(),
        organization=principal.acting_organization(),
        release=release,
        name=name,
        salt=secrets.token_hex(8),
        creator_id=principal.id,
        created_by=principal.label[: limits.LINE_CHARS],
        created_at=now,
        **plan.columns,
    )
    try:
        with transaction.atomic():
            rollout.save(force_insert=True)
    except IntegrityError:
        raise RolloutConflict(
            f"Release {release.version} has a rollout that has not ended: go on with that one, or"
            " roll it back first."
        ) from None
    _write_stages(rollout, plan)
    _told(rollout, principal, "create", f"Planned by {principal.label}.", now,
          release=release.version, plan=_plain(plan))  # fmt: skip
    return rollout


@transaction.atomic
def rollout_update(
    *, rollout: Rollout, changes: dict[str, Any], principal: Principal, now: datetime
) -> Rollout:
    """Change the plan or the name of a draft. A drill of the old plan proves nothing any more."""
    rollout = _locked(rollout, [Status.DRAFT], principal)
    before = Plan.of(rollout)
    name = changes.pop("name", rollout.name)
    plan = Plan(**{**vars(before), **changes})
    _check(plan, principal, now)
    old = {"name": rollout.name, **_plain(before)}
    Rollout.objects.filter(pk=rollout.pk).update(name=name, drill=None, **plan.columns)
    rollout.refresh_from_db()
    if "stages" in changes:
        _write_stages(rollout, plan)
    was, becomes = audit.changed(old, {"name": name, **_plain(plan)})
    event_add(rollout, "updated", f"Changed by {principal.label}.", now, names=sorted(becomes))
    rollout_record(rollout, "update", actor=principal, before=was, **becomes)
    return rollout


@transaction.atomic
def rollout_delete(*, rollout: Rollout, principal: Principal) -> None:
    """Throw a draft away. Raises RolloutConflict for one that has been started."""
    rollout = _locked(rollout, [Status.DRAFT], principal)
    rollout_record(rollout, "delete", actor=principal, name=rollout.name)
    rollout.delete()


@transaction.atomic
def rollout_start(
    *, rollout: Rollout, principal: Principal, now: datetime, reason: str = ""
) -> Rollout:
    """Freeze who is covered, prove that the rules fire, and open the first stage.

    In an organisation that wants a second person for so many devices it waits for that one.
    Raises RolloutConflict for one that was started, RolloutRefused while the release is not
    published and signed, or for a plan nobody is covered by.
    """
    rollout = _locked(rollout, [Status.DRAFT], principal)
    Plan.of(rollout).check(now)
    _release_check(rollout)
    targets_add(rollout=rollout, chosen=chosen_of(rollout, principal), now=now)
    Rollout.objects.filter(pk=rollout.pk).update(joined_at=now)
    if not rollout.total:
        raise RolloutRefused(
            "No device is covered: none of the selection has a role of the release and a segment"
            " of the plan. Choose others.",
            errors={"selection": ["No device takes part."]},
        )
    # One held before its devices were counted has not asked whether they are enough for its rules.
    if rollout.drill is None or rollout.drill.get("devices") != rollout.total:
        rollout = rollout_drill(rollout=rollout, actor=principal, now=now)
    most = rollout.organization.rollout_approval_above
    needed = most is not None and rollout.total > most
    if needed:
        _move(rollout, [Status.DRAFT], Status.AWAITING_APPROVAL, approval_needed=True)
    else:
        _begin(rollout, [Status.DRAFT], principal, now)
    waits = " It waits for a second person." if needed else ""
    _told(rollout, principal, "start", f"Started by {principal.label}.{waits}", now,
          reason=reason, devices=rollout.total, approval_needed=needed)  # fmt: skip
    return rollout


@transaction.atomic
def rollout_approve(
    *, rollout: Rollout, principal: Principal, now: datetime, reason: str
) -> Rollout:
    """Let a rollout go as the second person.

    Raises RolloutApprovalRefused for whoever made it and for API keys, RolloutConflict for one
    that does not wait for anybody.
    """
    whole(rollout, principal)
    if principal.kind != "user":
        raise RolloutApprovalRefused(
            "Approving takes a person: sign in instead of using an API key."
        )
    if principal.id == rollout.creator_id:
        raise RolloutApprovalRefused(f"You made “{rollout.name}”: ask another admin to approve it.")
    Plan.of(rollout).check(now)
    _release_check(rollout)
    label = principal.label[: limits.LINE_CHARS]
    _begin(rollout, [Status.AWAITING_APPROVAL], principal, now, approved_at=now, approved_by=label)
    _told(rollout, principal, "approve", f"Approved by {principal.label}.", now,
          reason=reason, devices=rollout.total)  # fmt: skip
    return rollout


@transaction.atomic
def rollout_pause(
    *, rollout: Rollout, principal: Principal, now: datetime, reason: str = ""
) -> Rollout:
    """Begin no more, and hold what has not begun to install. What installs goes on."""
    whole(rollout, principal)
    _move(rollout, [Status.RUNNING], Status.PAUSED, reason=reason)
    held = _of(rollout).filter(is_paused=False).update(is_paused=True)
    _told(rollout, principal, "pause", f"Paused by {principal.label}.", now,
          reason=reason, held=held)  # fmt: skip
    return rollout


@transaction.atomic
def rollout_resume(
    *, rollout: Rollout, principal: Principal, now: datetime, reason: str = ""
) -> Rollout:
    """Go on where it was paused; from a halt only with a reason.

    What the halt took back waits for its turn again. Raises RolloutRefused without the reason.
    """
    whole(rollout, principal)
    halted = rollout.status == Status.HALTED
    if is_rolling_back(rollout):
        raise RolloutConflict(
            f"“{rollout.name}” is being rolled back: plan a new rollout once it is.",
            rollout_status=rollout.status,
        )
    if halted and not reason.strip():
        raise RolloutRefused(
            "A halted rollout goes on only with a reason: say what was found and mended.",
            errors={"reason": ["Say why it may go on."]},
        )
    before = {"status": rollout.status, "reason": rollout.reason}
    _move(rollout, [Status.HALTED if halted else Status.PAUSED], Status.RUNNING,
          reason="", halted_by_rule=None)  # fmt: skip
    _of(rollout).filter(is_paused=True).update(is_paused=False)
    again = RolloutTarget.objects.filter(rollout=rollout, update__status="cancelled")
    back = again.update(update=None)
    event_add(rollout, "resumed", f"Resumed by {principal.label}.", now, reason=reason, again=back)
    rollout_record(rollout, "resume", actor=principal, before=before, reason=reason, again=back)
    return rollout


# --- shared with its neighbours ---


def whole(rollout: Rollout, principal: Principal) -> None:
    """Refuse to act from nowhere, or on a rollout that reaches beyond a person's groups."""
    principal.acting_organization()
    if not sees_whole(rollout, principal):
        raise NotAllowed(
            f"“{rollout.name}” has devices outside your groups; ask somebody who sees all of them."
        )


def sees_whole(rollout: Rollout, principal: Principal) -> bool:
    """Say whether every device of the rollout is visible to the principal."""
    if not principal.limited:
        return True
    hidden = RolloutTarget.objects.filter(rollout=rollout).exclude(
        device__in=Device.objects.visible_to(principal)
    )
    return not hidden.exists()


def stage_open(rollout: Rollout, stage: RolloutStage, by: str, now: datetime) -> None:
    """Open a stage; its devices are next from now on."""
    rows = RolloutStage.objects.filter(pk=stage.pk, opened_at__isnull=True)
    if not rows.update(opened_at=now, opened_by=by[: limits.LINE_CHARS]):
        raise RolloutConflict(f"The {stage.segment} stage of “{rollout.name}” is open already.")
    event_add(rollout, "stage_opened", f"The {stage.segment} stage opened.", now,
              segment=stage.segment, percentage=stage.percentage, by=by)  # fmt: skip


def _unlimited(principal: Principal) -> None:
    principal.acting_organization()
    if principal.limited:
        raise NotAllowed("Planning a rollout takes somebody who sees all devices.")


def _check(plan: Plan, principal: Principal, now: datetime) -> None:
    plan.check(now)
    selected(selection=plan.selection, principal=principal)


def _release_check(rollout: Rollout) -> None:
    release = rollout.release
    if release.state != Release.State.PUBLISHED:
        raise RolloutRefused(
            f"Release {release.version} is {release.get_state_display()}: publish it first."
        )
    first = rollout.stages.order_by("position")[0]
    wanted = trust_of(first.segment)
    if wanted not in reach_of(release):
        raise RolloutRefused(
            f"No signature for {wanted} covers release {release.version}: devices of the"
            f" {first.segment} stage would refuse it. Sign its manifest first."
        )


def _begin(
    rollout: Rollout, old: Sequence[Status], principal: Principal, now: datetime, **changes: Any
) -> None:
    _move(rollout, old, Status.RUNNING, started_at=now, **changes)
    stage_open(rollout, rollout.stages.order_by("position")[0], principal.label, now)


def _locked(rollout: Rollout, states: Sequence[Status], principal: Principal) -> Rollout:
    """Return the row, locked and in one of the states; raise RolloutConflict otherwise."""
    whole(rollout, principal)
    rows = Rollout.objects.select_for_update(of=("self",)).select_related("release", "organization")
    found = rows.filter(pk=rollout.pk, status__in=states).first()
    if found is None:
        raise _conflict(rollout, states)
    return found


def _move(rollout: Rollout, old: Sequence[Status], new: Status, **changes: Any) -> None:
    moved = Rollout.objects.filter(pk=rollout.pk, status__in=old).update(status=new, **changes)
    if not moved:
        raise _conflict(rollout, old)
    rollout.refresh_from_db()


def _conflict(rollout: Rollout, states: Sequence[Status]) -> RolloutConflict:
    rollout.refresh_from_db()
    return RolloutConflict(
        f"“{rollout.name}” is {rollout.get_status_display()}; this takes one that is"
        f" {' or '.join(one.label for one in states)}.",
        rollout_status=rollout.status,
    )


def _of(rollout: Rollout) -> Any:
    """Return its updates that a pause can still hold."""
    return DeviceUpdate.objects.filter(rollout=rollout, status__in=HELD)


def _write_stages(rollout: Rollout, plan: Plan) -> None:
    rollout.stages.all().delete()
    RolloutStage.objects.bulk_create(
        RolloutStage(organization_id=rollout.organization_id, rollout=rollout, position=at, **stage)
        for at, stage in enumerate(plan.stages)
    )


def _plain(plan: Plan) -> dict[str, Any]:
    return {name: str(value) if name == "on_halt" else value for name, value in vars(plan).items()}


_KINDS = {"create": "created", "start": "started", "approve": "approved", "pause": "paused"}


def _told(
    rollout: Rollout, actor: Actor, verb: str, message: str, now: datetime, **said: Any
) -> None:
    """Write the act into the rollout's story and into the log."""
    said = {name: value for name, value in said.items() if value != ""}
    event_add(rollout, _KINDS[verb], message, now, **said)
    rollout_record(rollout, verb, actor=actor, **said)

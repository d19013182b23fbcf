"""Why a device gets a release, or does not: an ordered list of gates."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from devices.models import Device
from releases.models import DeviceUpdate, Release, Rollout
from releases.services.gate_facts import Facts, facts_of
from releases.services.openings import Opening, blackout_at
from releases.services.places import MINUTE, in_flight_with_lock
from releases.services.targets import HOLDBACK
from releases.trust.paths import trust_of


@dataclass(frozen=True)
class Gate:
    """One condition: what was seen, what is wanted, and when that can change by itself."""

    gate: str
    passed: bool
    seen: str
    wanted: str
    changes_at: datetime | None = None


def gates_of(
    *, device: Device, release: Release, rollout: Rollout | None, now: datetime
) -> list[Gate]:
    """Return every gate in order; a device is eligible when all have passed."""
    facts = facts_of(device=device, release=release, rollout=rollout, now=now)
    return [ask(facts) for ask in GATES]


def offer_gate(*, update: DeviceUpdate, now: datetime) -> Gate | None:
    """Return the first gate that has closed since the update was scheduled, or None.

    A way back and a redeployment are somebody's decision about this very device: windows, locks
    and the state of a rollout do not hold them up.
    """
    if update.release is None:
        return None
    by_rollout = update.kind == DeviceUpdate.Kind.ROLLOUT
    facts = facts_of(
        device=update.device,
        release=update.release,
        rollout=update.rollout if by_rollout else None,
        now=now,
        with_crowd=False,
    )
    asked = (ask(facts) for ask in (_REASKED if by_rollout else _REASKED_SINGLE))
    return next((gate for gate in asked if not gate.passed), None)


# --- the release, and whether the device can have it at all ---


def _release(facts: Facts) -> Gate:
    state = facts.release.state
    return Gate("release", state == Release.State.PUBLISHED, state, "published")


def _role(facts: Facts) -> Gate:
    roles = facts.release.roles
    seen = facts.device.role or "no role"
    wanted = f"one of {', '.join(roles)}" if roles else "any role"
    return Gate("role", not roles or facts.device.role in roles, seen, wanted)


def _artifact(facts: Facts) -> Gate:
    found = facts.artifact_role
    seen = "none" if found is None else f"bundle for {found or 'every role'}"
    wanted = f"a stored bundle for {facts.device.role or 'every role'}"
    return Gate("artifact", found is not None, seen, wanted)


def _trust(facts: Facts) -> Gate:
    wanted = trust_of(facts.segment)
    seen = ", ".join(sorted(facts.reach)) or "not signed"
    return Gate("trust", wanted in facts.reach, seen, f"signed for {wanted}")


# --- the rollout, and the device's place in it ---


def _rollout(facts: Facts) -> Gate:
    seen = facts.rollout.get_status_display() if facts.rollout else "none"
    running = facts.rollout is not None and facts.rollout.status == Rollout.Status.RUNNING
    return Gate("rollout", running, seen, "running")


def _target(facts: Facts) -> Gate:
    if facts.target is None:
        return Gate("target", passed=False, seen="not in the rollout", wanted="in the rollout")
    left_out = facts.target.left_out
    passed = left_out in ("", HOLDBACK)
    return Gate("target", passed, "in it" if passed else left_out, "in the rollout")


def _holdback(facts: Facts) -> Gate:
    held = facts.target is not None and facts.target.left_out == HOLDBACK
    return Gate("holdback", not held, "held back" if held else "no", "not held back")


# --- the device ---


def _lifecycle(facts: Facts) -> Gate:
    seen = facts.device.lifecycle
    quarantined = seen == Device.Lifecycle.QUARANTINED
    changes_at = facts.quarantined_until if quarantined else None
    return Gate("lifecycle", seen == Device.Lifecycle.ACTIVE, seen, "active", changes_at)


def _safe_mode(facts: Facts) -> Gate:
    return Gate("safe_mode", not facts.device.safe_mode, _on(facts.device.safe_mode), "off")


def _quarantine(facts: Facts) -> Gate:
    until = facts.quarantined_until
    seen = f"until {_moment(until)}" if until else "none"
    return Gate("quarantine", until is None, seen, "none", until)


def _maintenance(facts: Facts) -> Gate:
    seen = facts.device.maintenance_mode
    return Gate("maintenance", not seen, _on(seen), "off")


def _update_enabled(facts: Facts) -> Gate:
    seen = facts.device.update_enabled
    return Gate("update_enabled", seen, _on(seen), "on")


def _version_lock(facts: Facts) -> Gate:
    lock = facts.device.version_lock
    expires = facts.device.version_lock_expires_at
    wanted = f"none, or one to {facts.release.version}"
    if not lock or (expires and expires <= facts.now):
        return Gate("version_lock", passed=True, seen="none", wanted=wanted)
    owner = f" by {facts.device.version_lock_owner}" if facts.device.version_lock_owner else ""
    reason = f": {facts.device.version_lock_reason}" if facts.device.version_lock_reason else ""
    passed = lock == facts.release.version
    return Gate("version_lock", passed, f"{lock}{owner}{reason}", wanted, expires)


def _running(facts: Facts) -> Gate:
    version = facts.release.version
    seen = facts.running or "unknown"
    return Gate("running", facts.running != version, seen, f"another than {version}")


def _tried(facts: Facts) -> Gate:
    ended = facts.target.update if facts.target else None
    if facts.bad_update is not None:
        ended = facts.bad_update
    if ended is None or ended.is_open:
        return Gate("tried", passed=True, seen="no", wanted="not tried before")
    seen = f"{ended.status_label}: {ended.failure_class}".rstrip(": ")
    return Gate("tried", passed=False, seen=seen, wanted="not tried before")


def _other_update(facts: Facts) -> Gate:
    found = facts.open_update
    wanted = "no other update under way"
    if found is None:
        return Gate("other_update", passed=True, seen="none", wanted=wanted)
    seen = f"{found.status_label} to {found.to_version}"
    return Gate("other_update", facts.is_under_way, seen, wanted)


# --- whose turn it is ---


def _stage(facts: Facts) -> Gate:
    stage = facts.stage
    wanted = f"{facts.segment} open"
    if stage is None:
        return Gate("stage", passed=False, seen="no such stage", wanted=wanted)
    opened = [one for one in facts.stages if one.opened_at]
    seen = f"{', '.join(one.segment for one in opened) or 'none'} open"
    changes_at = None
    if opened and not stage.opened_at and facts.stages.index(stage) == len(opened):
        before = opened[-1]
        if before.soaking_since:
            changes_at = before.soaking_since + timedelta(minutes=before.soak_minutes)
    return Gate("stage", stage.opened_at is not None, seen, wanted, changes_at)


def _percentage(facts: Facts) -> Gate:
    if facts.target is None or facts.stage is None:
        return Gate("percentage", passed=False, seen="no place", wanted="a place in a stage")
    below = 100 * facts.stage.percentage
    wanted = f"below {below} ({facts.stage.percentage} %)"
    return Gate("percentage", facts.target.bucket < below, str(facts.target.bucket), wanted)


# --- when, and how many at once ---


def _calendar(facts: Facts) -> Gate:
    return _opening("calendar", facts.site, facts.now, "the calendar of its site open")


def _window(facts: Facts) -> Gate:
    opening = Opening.of_rollout(facts.rollout) if facts.rollout else Opening()
    return _opening("window", Opening(opening.windows), facts.now, "the window open")


def _opening(name: str, opening: Opening, now: datetime, wanted: str) -> Gate:
    if opening.is_open(now):
        seen = "open" if opening.windows or opening.blackouts else "none"
        return Gate(name, passed=True, seen=seen, wanted=wanted)
    return Gate(name, passed=False, seen="closed", wanted=wanted, changes_at=opening.opens_at(now))


def _blackout(facts: Facts) -> Gate:
    found = blackout_at(facts.rollout.blackouts, facts.now) if facts.rollout else None
    if found is None:
        return Gate("blackout", passed=True, seen="none", wanted="none")
    seen = f"until {_moment(found.end)}: {found.reason}".rstrip(": ")
    return Gate("blackout", passed=False, seen=seen, wanted="none", changes_at=found.end)


def _rate(facts: Facts) -> Gate:
    most = facts.rollout.rate_per_minute if facts.rollout else None
    if most is None:
        return Gate("rate", passed=True, seen="no bound", wanted="no bound")
    begun, first = facts.crowd.begun, facts.crowd.begun_first
    passed = facts.is_under_way or begun < most
    changes_at = None if passed or first is None else first + MINUTE
    seen = f"{begun} begun in the last minute"
    return Gate("rate", passed, seen, f"fewer than {most}", changes_at)


def _concurrency(facts: Facts) -> Gate:
    most = facts.rollout.concurrency if facts.rollout else None
    if most is None:
        return Gate("concurrency", passed=True, seen="no bound", wanted="no bound")
    count, what = facts.crowd.held, "in flight"
    if facts.is_away and count < most:
        # It keeps nobody from a place, and as many as there are may wait like it.
        count, what = facts.crowd.waiting, "wait and are away"
    passed = facts.is_under_way or count < most
    return Gate("concurrency", passed, f"{count} {what}", f"fewer than {most}")


def _place(facts: Facts) -> Gate:
    """The same at the moment of the offer, exact: what is in flight then."""
    most = facts.rollout.concurrency if facts.rollout else None
    if facts.rollout is None or most is None:
        return Gate("concurrency", passed=True, seen="no bound", wanted="no bound")
    if facts.open_update is not None and facts.open_update.status == DeviceUpdate.Status.OFFERED:
        return Gate("concurrency", passed=True, seen="in flight itself", wanted="a place")
    count = in_flight_with_lock(facts.rollout)
    return Gate("concurrency", count < most, f"{count} in flight", f"fewer than {most}")


def _on(value: bool) -> str:  # noqa: FBT001 - the value is what it tells
    return "on" if value else "off"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


GATES: list[Callable[[Facts], Gate]] = [
    *(_release, _role, _artifact, _trust, _rollout, _target, _holdback, _lifecycle, _safe_mode),
    *(_quarantine, _maintenance, _update_enabled, _version_lock, _running, _tried, _other_update),
    *(_stage, _percentage, _calendar, _window, _blackout, _rate, _concurrency),
]
# What can close between scheduling and the device's question. The place comes last: who asks for it
# holds up others. An update whose bundle is gone is taken back by the offer itself.
_REASKED = [
    *(_release, _trust, _rollout, _lifecycle, _safe_mode, _quarantine, _maintenance),
    *(_update_enabled, _version_lock, _calendar, _window, _blackout, _place),
]
_REASKED_SINGLE = [_trust, _maintenance]

"""What the page of a rollout shows, and which of its buttons stand there."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from accounts.admin_pages import Verb
from accounts.principals import Principal
from releases.admin.rollout_evidence import drill_told, evidence_told
from releases.admin.rollout_verbs import VERBS
from releases.models import UNSTARTED, Rollout, RolloutEvent, RolloutStage, RolloutTarget
from releases.selectors.progress import (
    LEFT_OUT,
    STATES,
    RolloutProgress,
    left_out_of,
    rollout_failures,
    rollout_progress,
    stages_of,
)
from releases.selectors.pulse import rollout_pulse
from releases.services.guardrails import rules_of
from releases.services.targets import HOLDBACK

Status = Rollout.Status
_EVENTS = 30
_WORKING = 20
_HELD = 20


def rollout_context(rollout: Rollout, principal: Principal, *, now: datetime) -> dict[str, Any]:
    """Return what the page and its live part show."""
    progress = rollout_progress(rollout, principal)
    stages = stages_of(rollout)
    mine = [verb for verb in VERBS if verb.allowed(principal) and not principal.limited]
    events = RolloutEvent.objects.visible_to(principal).filter(rollout=rollout).order_by("-id")
    return {
        "rollout": rollout,
        "release": rollout.release,
        "progress": progress,
        "counts": _counts(progress.by_state),
        "parts": parts(progress.by_state),
        "stages": [_stage(one, progress, now) for one in stages],
        "failures": rollout_failures(rollout, principal),
        "left_out": left_out_of(rollout, principal),
        "verbs": [verb for verb in mine if _offered(verb, rollout, principal, stages, progress)],
        "dialogs": [_asking(verb, rollout) for verb in mine],
        "own": principal.id == rollout.creator_id,
        "events": list(events[:_EVENTS]),
        "pulse": pulse_bars(rollout_pulse(rollout=rollout, now=now)),
        "quiet": rollout.status in (Status.COMPLETED, Status.ROLLED_BACK) and not progress.open,
        "open_stage": open_stage(stages),
        "in_flight": _in_flight(rollout, principal),
        "held_back": _held_back(rollout, principal),
        "rules": rules_of(rollout),
        "evidence": evidence_told(rollout, principal),
        "drill": drill_told(rollout),
        "rollback": rollout.evidence.get("rollback"),
        "is_unstarted": rollout.status in UNSTARTED,
    }


def _asking(verb: Verb, rollout: Rollout) -> Verb:
    """After a halt, going on needs a reason."""
    is_after_halt = verb.name == "resume" and rollout.status == Status.HALTED
    return replace(verb, reason="must") if is_after_halt else verb


def _offered(
    verb: Verb,
    rollout: Rollout,
    principal: Principal,
    stages: list[RolloutStage],
    progress: RolloutProgress,
) -> bool:
    if rollout.status not in verb.states:
        return False
    if verb.name == "approve":
        return principal.id != rollout.creator_id
    if verb.name == "promote":
        return any(stage.opened_at is None for stage in stages)
    if verb.name == "raise":
        stage = open_stage(stages)
        return stage is not None and stage.percentage < 100
    if verb.name == "holdback":
        return progress.by_state[LEFT_OUT] > 0 and rollout.holdback_percent > 0
    return True


def open_stage(stages: list[RolloutStage]) -> RolloutStage | None:
    """Return the stage that opened last."""
    opened = [stage for stage in stages if stage.opened_at is not None]
    return opened[-1] if opened else None


def parts(counts: Counter[str]) -> list[tuple[str, int, str]]:
    """Return the coloured parts of a bar: state, weight, words."""
    return [
        (state, counts[state], f"{counts[state]} {words_of(state)}")
        for state in STATES
        if counts[state] and state != LEFT_OUT
    ]


def words_of(state: str) -> str:
    return "held back" if state == LEFT_OUT else state.replace("_", " ")


def _counts(counts: Counter[str]) -> list[tuple[str, str, int]]:
    return [(state, words_of(state), counts[state]) for state in STATES if counts[state]]


def _stage(stage: RolloutStage, progress: RolloutProgress, now: datetime) -> dict[str, Any]:
    counts = progress.by_segment.get(stage.segment, Counter())
    total = counts.total() - counts[LEFT_OUT]
    soaked_at = None
    if stage.soaking_since is not None:
        soaked_at = stage.soaking_since + timedelta(minutes=stage.soak_minutes)
    return {
        "stage": stage,
        "total": total,
        "ended": total - sum(counts[one] for one in counts if one in _UNENDED),
        "parts": parts(counts),
        "soaked_at": soaked_at,
        "is_soaked": soaked_at is not None and soaked_at <= now,
    }


_UNENDED = {*STATES} - {"verified", "failed", "rolled_back", "cancelled", LEFT_OUT}


def pulse_bars(pulse: dict[str, Any]) -> dict[str, Any]:
    """Return the pulse as bars: heights in percent of the tallest, with words for each."""
    series = pulse["series"]
    columns = list(zip(series["verified"], series["failed"], strict=True))
    tallest = max((good + bad for good, bad in columns), default=0)
    bars = [
        {
            "good": _height(good, tallest),
            "bad": _height(bad, tallest),
            "words": f"{_clock(at)}: {good} verified, {bad} failed",
        }
        for at, (good, bad) in zip(pulse["at"], columns, strict=True)
    ]
    ends = [_clock(at) for at in (pulse["at"][0], pulse["at"][-1])] if pulse["at"] else []
    return {"bars": bars, "step": pulse["step"], "tallest": tallest, "ends": ends}


def _height(count: int, tallest: int) -> int:
    """Return a height in percent; what is there at all is seen."""
    return max(3, round(100 * count / tallest)) if count else 0


def _clock(at: int) -> str:
    return f"{datetime.fromtimestamp(at, tz=UTC):%d %b, %H:%M}"


def _in_flight(rollout: Rollout, principal: Principal) -> list[RolloutTarget]:
    """Return devices that are at it at the moment, a screenful."""
    targets = RolloutTarget.objects.visible_to(principal).filter(rollout=rollout)
    working = targets.filter(
        update__status__in=["offered", "downloading", "installing", "awaiting_confirmation"]
    )
    rows = working.select_related("device", "update").order_by("update__started_at", "pk")
    return list(rows[:_WORKING])


def _held_back(rollout: Rollout, principal: Principal) -> list[RolloutTarget]:
    """Return devices of the hold-back group, a screenful."""
    targets = RolloutTarget.objects.visible_to(principal).filter(rollout=rollout)
    held = targets.filter(left_out=HOLDBACK).select_related("device").order_by("pk")
    return list(held[:_HELD])

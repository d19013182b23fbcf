"""What the page of a rollout shows, and what can be done there."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from accounts.policy import Action
from accounts.principals import Principal
from releases.models import Rollout, RolloutEvent, RolloutStage, RolloutTarget
from releases.selectors.progress import (
    LEFT_OUT,
    STATES,
    WAITING,
    RolloutProgress,
    left_out_of,
    rollout_failures,
    rollout_progress,
    stages_of,
)
from releases.selectors.pulse import rollout_pulse

Status = Rollout.Status
_EVENTS = 30
_UNSTARTED = (Status.DRAFT, Status.AWAITING_APPROVAL)
_LIVE = (Status.RUNNING, Status.PAUSED)


@dataclass(frozen=True)
class Verb:
    """A button: what it says, what it asks for, and where it stands."""

    name: str
    word: str
    question: str
    lead: str
    done: str
    right: Action
    states: tuple[str, ...]
    tone: str = ""
    wants_reason: bool = False
    # Further questions: a percentage, a reason to skip the soak time.
    asks: str = ""

    def allowed(self, principal: Principal) -> bool:
        """Say whether the person may do it at all."""
        return principal.organization is not None and principal.may(self.right)


_ALL = [
    Verb(
        "start",
        "Start",
        "Start the rollout?",
        "The first stage opens, and its devices are told at once.",
        "The rollout has begun.",
        Action.ROLLOUT_MANAGE,
        (Status.DRAFT,),
        tone="main",
    ),
    Verb(
        "approve",
        "Approve",
        "Let the rollout go?",
        "Somebody else made it; with your word its first stage opens.",
        "Approved.",
        Action.ROLLOUT_APPROVE,
        (Status.AWAITING_APPROVAL,),
        tone="main",
        wants_reason=True,
    ),
    Verb(
        "promote",
        "Next stage",
        "Open the next stage?",
        "Before its soak time is over, a stage is left only with a reason; it is kept.",
        "The next stage is open.",
        Action.ROLLOUT_MANAGE,
        (Status.RUNNING,),
        tone="main",
    ),
    Verb(
        "raise",
        "Percentage",
        "Raise the percentage of the open stage?",
        "Devices that are in stay in; it cannot be lowered again.",
        "Raised.",
        Action.ROLLOUT_MANAGE,
        (Status.RUNNING,),
        asks="percentage",
    ),
    Verb(
        "resume",
        "Resume",
        "Go on?",
        "Devices are told again, where the rollout stood. After a halt this needs a reason.",
        "The rollout goes on.",
        Action.ROLLOUT_MANAGE,
        (Status.PAUSED, Status.HALTED),
        tone="main",
    ),
    Verb(
        "pause",
        "Pause",
        "Pause the rollout?",
        "Nobody new is told, and devices that have not begun to install wait.",
        "Paused.",
        Action.ROLLOUT_STOP,
        (Status.RUNNING,),
    ),
    Verb(
        "holdback",
        "Release the hold-back",
        "Let the held-back devices have it, too?",
        "They were kept out to show what is normal. Afterwards nothing is left to compare with.",
        "The held-back devices take part.",
        Action.ROLLOUT_MANAGE,
        _LIVE,
        wants_reason=True,
    ),
    Verb(
        "drill",
        "Halt drill",
        "Prove that the rules fire?",
        "The judging code is fed a failing and a healthy cohort. No device notices anything.",
        "The rules fire as they should.",
        Action.ROLLOUT_MANAGE,
        _UNSTARTED,
    ),
    Verb(
        "halt",
        "Halt",
        "Stop the rollout now?",
        "What no device has begun is taken back. What runs, runs to its end.",
        "Halted.",
        Action.ROLLOUT_STOP,
        _LIVE,
        tone="bad",
        wants_reason=True,
    ),
    Verb(
        "rollback",
        "Roll back",
        "Bring every updated device back?",
        "Each one is sent the release it ran before.",
        "The way back has begun.",
        Action.ROLLOUT_MANAGE,
        (*_LIVE, Status.HALTED, Status.COMPLETED),
        tone="bad",
        wants_reason=True,
    ),
]
VERBS = {verb.name: verb for verb in _ALL}


def rollout_context(rollout: Rollout, principal: Principal, *, now: datetime) -> dict[str, Any]:
    """Return what the page and its live part show."""
    progress = rollout_progress(rollout, principal)
    stages = stages_of(rollout)
    mine = [verb for verb in _ALL if verb.allowed(principal) and not principal.limited]
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
        "dialogs": mine,
        "own": principal.id == rollout.creator_id,
        "events": list(events[:_EVENTS]),
        "pulse": pulse_bars(rollout_pulse(rollout=rollout, now=now)),
        "quiet": rollout.status in (Status.COMPLETED, Status.ROLLED_BACK) and not progress.open,
        "open_stage": open_stage(stages),
        "in_flight": _in_flight(rollout, principal),
    }


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
            "at": at,
            "good": round(100 * good / tallest) if tallest else 0,
            "bad": round(100 * bad / tallest) if tallest else 0,
            "words": f"{good} verified, {bad} failed",
        }
        for at, (good, bad) in zip(pulse["at"], columns, strict=True)
    ]
    return {"bars": bars, "step": pulse["step"], "tallest": tallest}


def _in_flight(rollout: Rollout, principal: Principal) -> list[RolloutTarget]:
    """Return devices that are at it at the moment, a screenful."""
    targets = RolloutTarget.objects.visible_to(principal).filter(rollout=rollout)
    working = targets.filter(
        update__status__in=["offered", "downloading", "installing", "awaiting_confirmation"]
    )
    rows = working.select_related("device", "update").order_by("update__started_at", "pk")
    return list(rows[:20])


__all__ = ["VERBS", "WAITING", "Verb", "open_stage", "parts", "pulse_bars", "rollout_context"]

"""What the buttons of a rollout's page do: each calls one service."""

from collections.abc import Callable
from typing import Any

from django import forms

from accounts.admin_pages import VerbForm
from accounts.principals import Principal
from common import clock
from releases.admin.rollout_page import open_stage
from releases.errors import RolloutConflict
from releases.models import Rollout
from releases.selectors.progress import stages_of
from releases.services.drills import rollout_drill
from releases.services.halting import rollout_halt, rollout_rollback
from releases.services.promoting import rollout_promote, rollout_release_holdback
from releases.services.rollouts import (
    rollout_approve,
    rollout_pause,
    rollout_resume,
    rollout_start,
)


class ActForm(VerbForm):
    """Why somebody does something to a rollout, and how far a percentage is raised."""

    percentage = forms.IntegerField(required=False, min_value=1, max_value=100)


def act(verb: str, rollout: Rollout, principal: Principal, entered: dict[str, Any]) -> None:
    """Do what the button `verb` says; refusals are DomainErrors."""
    _DO[verb](rollout, principal, entered)


def _promote(rollout: Rollout, principal: Principal, entered: dict[str, Any]) -> Rollout:
    closed = [stage for stage in stages_of(rollout) if stage.opened_at is None]
    if not closed:
        raise RolloutConflict("Every stage is open already.")
    return rollout_promote(
        rollout=rollout,
        principal=principal,
        now=clock.now(),
        target_segment=closed[0].segment,
        reason=entered["reason"],
    )


def _raise(rollout: Rollout, principal: Principal, entered: dict[str, Any]) -> Rollout:
    stage = open_stage(stages_of(rollout))
    if stage is None:
        raise RolloutConflict("No stage is open yet.")
    return rollout_promote(
        rollout=rollout,
        principal=principal,
        now=clock.now(),
        percentage=entered["percentage"] or 100,
        reason=entered["reason"],
    )


Doing = Callable[[Rollout, Principal, dict[str, Any]], object]

_DO: dict[str, Doing] = {
    "start": lambda rollout, principal, entered: rollout_start(
        rollout=rollout, principal=principal, now=clock.now(), reason=entered["reason"]
    ),
    "approve": lambda rollout, principal, entered: rollout_approve(
        rollout=rollout, principal=principal, now=clock.now(), reason=entered["reason"]
    ),
    "pause": lambda rollout, principal, entered: rollout_pause(
        rollout=rollout, principal=principal, now=clock.now(), reason=entered["reason"]
    ),
    "resume": lambda rollout, principal, entered: rollout_resume(
        rollout=rollout, principal=principal, now=clock.now(), reason=entered["reason"]
    ),
    "promote": _promote,
    "raise": _raise,
    "holdback": lambda rollout, principal, entered: rollout_release_holdback(
        rollout=rollout, principal=principal, now=clock.now(), reason=entered["reason"]
    ),
    "drill": lambda rollout, principal, _entered: rollout_drill(
        rollout=rollout, actor=principal, now=clock.now()
    ),
    "halt": lambda rollout, principal, entered: rollout_halt(
        rollout=rollout, reason=entered["reason"], actor=principal, now=clock.now()
    ),
    "rollback": lambda rollout, principal, entered: rollout_rollback(
        rollout=rollout, reason=entered["reason"], actor=principal, now=clock.now()
    ),
}

"""What people do with a rollout, over REST."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.policy import Action
from common import clock
from releases.api.rollout_serializers import (
    PromoteInput,
    RolloutDetail,
    RolloutReason,
    RolloutReasonNeeded,
)
from releases.api.rollouts import OneRolloutView, checked
from releases.services import drills, halting, promoting, rollouts


class StartRollout(OneRolloutView):
    """Letting a draft go."""

    actions = {"POST": Action.ROLLOUT_MANAGE}

    @extend_schema(operation_id="rollouts_start", request=RolloutReason, responses=RolloutDetail)
    def post(self, request: Request, pk: str) -> Response:
        """Freeze who is covered and open the first stage; many devices take a second person."""
        given = checked(RolloutReason, request)
        rollout = rollouts.rollout_start(
            rollout=self.rollout(pk), principal=self.principal, now=clock.now(), **given
        )
        return self.answer(rollout)


class ApproveRollout(OneRolloutView):
    """The second person's word."""

    actions = {"POST": Action.ROLLOUT_APPROVE}

    @extend_schema(
        operation_id="rollouts_approve", request=RolloutReasonNeeded, responses=RolloutDetail
    )
    def post(self, request: Request, pk: str) -> Response:
        """Let a rollout go that somebody else made. API keys cannot."""
        given = checked(RolloutReasonNeeded, request)
        rollout = rollouts.rollout_approve(
            rollout=self.rollout(pk), principal=self.principal, now=clock.now(), **given
        )
        return self.answer(rollout)


class PauseRollout(OneRolloutView):
    """Holding a rollout."""

    actions = {"POST": Action.ROLLOUT_STOP}

    @extend_schema(operation_id="rollouts_pause", request=RolloutReason, responses=RolloutDetail)
    def post(self, request: Request, pk: str) -> Response:
        """Begin no more, and hold what has not begun to install."""
        given = checked(RolloutReason, request)
        rollout = rollouts.rollout_pause(
            rollout=self.rollout(pk), principal=self.principal, now=clock.now(), **given
        )
        return self.answer(rollout)


class ResumeRollout(OneRolloutView):
    """Letting a paused or halted rollout go on."""

    actions = {"POST": Action.ROLLOUT_MANAGE}

    @extend_schema(operation_id="rollouts_resume", request=RolloutReason, responses=RolloutDetail)
    def post(self, request: Request, pk: str) -> Response:
        """Go on where it stopped; from a halt only with a reason."""
        given = checked(RolloutReason, request)
        rollout = rollouts.rollout_resume(
            rollout=self.rollout(pk), principal=self.principal, now=clock.now(), **given
        )
        return self.answer(rollout)


class PromoteRollout(OneRolloutView):
    """Going further."""

    actions = {"POST": Action.ROLLOUT_MANAGE}

    @extend_schema(operation_id="rollouts_promote", request=PromoteInput, responses=RolloutDetail)
    def post(self, request: Request, pk: str) -> Response:
        """Open the next stage, or raise the percentage of the open one."""
        given = checked(PromoteInput, request)
        rollout = promoting.rollout_promote(
            rollout=self.rollout(pk), principal=self.principal, now=clock.now(), **given
        )
        return self.answer(rollout)


class HaltRollout(OneRolloutView):
    """Stopping a rollout."""

    actions = {"POST": Action.ROLLOUT_STOP}

    @extend_schema(
        operation_id="rollouts_halt", request=RolloutReasonNeeded, responses=RolloutDetail
    )
    def post(self, request: Request, pk: str) -> Response:
        """Take back what waits. What devices have begun runs to its end."""
        given = checked(RolloutReasonNeeded, request)
        rollout = self.rollout(pk)
        rollouts.whole(rollout, self.principal)
        halted = halting.rollout_halt(
            rollout=rollout, actor=self.principal, now=clock.now(), **given
        )
        return self.answer(halted)


class RollbackRollout(OneRolloutView):
    """The way back."""

    actions = {"POST": Action.ROLLOUT_MANAGE}

    @extend_schema(
        operation_id="rollouts_rollback", request=RolloutReasonNeeded, responses=RolloutDetail
    )
    def post(self, request: Request, pk: str) -> Response:
        """End the rollout and bring every updated device back to the release it ran before."""
        given = checked(RolloutReasonNeeded, request)
        rollout = self.rollout(pk)
        rollouts.whole(rollout, self.principal)
        back = halting.rollout_rollback(
            rollout=rollout, actor=self.principal, now=clock.now(), **given
        )
        return self.answer(back)


class ReleaseHoldback(OneRolloutView):
    """The hold-back group."""

    actions = {"POST": Action.ROLLOUT_MANAGE}

    @extend_schema(
        operation_id="rollouts_holdback_release", request=RolloutReason, responses=RolloutDetail
    )
    def post(self, request: Request, pk: str) -> Response:
        """Let the devices that are held back in."""
        given = checked(RolloutReason, request)
        rollout = promoting.rollout_release_holdback(
            rollout=self.rollout(pk), principal=self.principal, now=clock.now(), **given
        )
        return self.answer(rollout)


class DrillRollout(OneRolloutView):
    """The proof that the rules fire."""

    actions = {"POST": Action.ROLLOUT_MANAGE}

    @extend_schema(operation_id="rollouts_drill", request=None, responses=RolloutDetail)
    def post(self, _request: Request, pk: str, **_: Any) -> Response:
        """Feed the rules a failing and a healthy fleet; nothing reaches a device."""
        rollout = self.rollout(pk)
        rollouts.whole(rollout, self.principal)
        drilled = drills.rollout_drill(rollout=rollout, actor=self.principal, now=clock.now())
        return self.answer(drilled)

"""The rollout of a release, reached through the release."""

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView
from accounts.policy import Action
from common import clock
from releases.api.finding import release_or_404
from releases.api.rollout_serializers import (
    PromoteInput,
    RolloutDetail,
    RolloutReason,
    RolloutReasonNeeded,
)
from releases.api.rollouts import checked, shown
from releases.models import Release, Rollout
from releases.services import releasing


class ReleaseActView(PortalView):
    """Base of what is done to a release's rollout."""

    serializer_class = RolloutDetail

    def release(self, version: str) -> Release:
        """Return the visible release or raise 404.

        Whoever is limited to groups is not told of rollouts that reach none of their devices.
        """
        release = release_or_404(self.principal, version)
        mine = Rollout.objects.visible_to(self.principal).filter(release=release)
        if self.principal.limited and not mine.exists():
            raise Http404
        return release

    def answer(self, rollout: Rollout) -> Response:
        """Return the rollout with its progress."""
        return Response(shown(rollout, self.principal))


class PromoteRelease(ReleaseActView):
    """Bringing a release further."""

    actions = {"POST": Action.ROLLOUT_MANAGE}

    @extend_schema(operation_id="releases_promote", request=PromoteInput, responses=RolloutDetail)
    def post(self, request: Request, version: str) -> Response:
        """Promote to a segment or a percentage; to canary also without a rollout planned before."""
        given = checked(PromoteInput, request)
        rollout = releasing.release_promote(
            release=self.release(version), principal=self.principal, now=clock.now(), **given
        )
        return self.answer(rollout)


class PauseRelease(ReleaseActView):
    """Holding a release."""

    actions = {"POST": Action.ROLLOUT_STOP}

    @extend_schema(operation_id="releases_pause", request=RolloutReason, responses=RolloutDetail)
    def post(self, request: Request, version: str) -> Response:
        """Pause the release's rollout."""
        given = checked(RolloutReason, request)
        rollout = releasing.release_pause(
            release=self.release(version), principal=self.principal, now=clock.now(), **given
        )
        return self.answer(rollout)


class ResumeRelease(ReleaseActView):
    """Letting a release go on."""

    actions = {"POST": Action.ROLLOUT_MANAGE}

    @extend_schema(operation_id="releases_resume", request=RolloutReason, responses=RolloutDetail)
    def post(self, request: Request, version: str) -> Response:
        """Let the release's rollout go on; from a halt only with a reason."""
        given = checked(RolloutReason, request)
        rollout = releasing.release_resume(
            release=self.release(version), principal=self.principal, now=clock.now(), **given
        )
        return self.answer(rollout)


class RollbackRelease(ReleaseActView):
    """The way back."""

    actions = {"POST": Action.ROLLOUT_MANAGE}

    @extend_schema(
        operation_id="releases_rollback", request=RolloutReasonNeeded, responses=RolloutDetail
    )
    def post(self, request: Request, version: str) -> Response:
        """Bring every device the release reached back to what it ran before."""
        given = checked(RolloutReasonNeeded, request)
        rollout = releasing.release_rollback(
            release=self.release(version), principal=self.principal, now=clock.now(), **given
        )
        return self.answer(rollout)

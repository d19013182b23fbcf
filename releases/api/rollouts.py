"""Rollouts over REST: planning them, and looking at them."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from accounts.api.base import PortalView
from accounts.policy import Action
from accounts.principals import Principal
from common import clock
from common.paging import CURSOR_FILTERS, Cursors
from releases.api.finding import release_or_404, rollout_or_404
from releases.api.plan_serializers import plan_members
from releases.api.rollout_filters import RolloutEventFilter, RolloutFilter, RolloutTargetFilter
from releases.api.rollout_serializers import (
    RolloutChange,
    RolloutDetail,
    RolloutEventOutput,
    RolloutInput,
    RolloutOutput,
    RolloutTargetOutput,
)
from releases.models import Rollout, RolloutEvent, RolloutTarget
from releases.selectors.progress import (
    rollout_failures,
    rollout_progress,
    stages_of,
    state_of_target,
)
from releases.services import rollouts
from releases.services.plans import Plan


def checked(serializer: type[Serializer[Any]], request: Request) -> dict[str, Any]:
    """Return the validated body."""
    wanted = serializer(data=request.data)
    wanted.is_valid(raise_exception=True)
    return dict(wanted.validated_data)


def shown(rollout: Rollout, principal: Principal) -> dict[str, Any]:
    """Return a rollout with its progress over the devices the caller sees."""
    progress = rollout_progress(rollout, principal)
    rollout.ordered_stages = stages_of(rollout)  # type: ignore[attr-defined]
    rollout.progress = {  # type: ignore[attr-defined]
        "total": progress.by_state.total(),
        "by_state": dict(progress.by_state),
        "by_segment": [
            {"segment": segment, "total": counts.total(), "by_state": dict(counts)}
            for segment, counts in progress.by_segment.items()
        ],
    }
    rollout.failures = [  # type: ignore[attr-defined]
        {**one, "devices": [name for name, _ in one["examples"]]}
        for one in rollout_failures(rollout, principal)
    ]
    answer = dict(RolloutDetail(rollout).data)
    if not rollouts.sees_whole(rollout, principal):
        answer["selection"] = None
    return answer


class OneRolloutView(PortalView):
    """Base of endpoints about one rollout."""

    serializer_class = RolloutDetail

    def rollout(self, pk: str) -> Rollout:
        """Return the visible rollout or raise 404."""
        return rollout_or_404(self.principal, pk)

    def answer(self, rollout: Rollout, status: int = 200) -> Response:
        """Return a rollout with its progress."""
        return Response(shown(rollout, self.principal), status=status)


class Rollouts(PortalView, ListAPIView[Rollout]):
    """Every rollout of the organisation."""

    actions = {"GET": Action.ROLLOUT_READ, "POST": Action.ROLLOUT_MANAGE}
    serializer_class = RolloutOutput
    queryset = Rollout.objects.none()
    filterset_class = RolloutFilter
    pagination_class = Cursors
    filter_backends = CURSOR_FILTERS
    search_fields = ["name", "release__version", "created_by"]

    def get_queryset(self) -> Any:
        """Only what the caller may see."""
        return Rollout.objects.visible_to(self.principal).select_related("release")

    @extend_schema(operation_id="rollouts_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List rollouts, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="rollouts_create", request=RolloutInput, responses={201: RolloutDetail}
    )
    def post(self, request: Request) -> Response:
        """Plan a rollout. It is a draft: nothing is sent before it is started."""
        given = checked(RolloutInput, request)
        release = release_or_404(self.principal, given["release"])
        rollout = rollouts.rollout_create(
            release=release,
            name=given.get("name") or f"Release {release.version}",
            plan=Plan(**plan_members(given)),
            principal=self.principal,
            now=clock.now(),
        )
        return Response(shown(rollout, self.principal), status=201)


class RolloutView(OneRolloutView):
    """One rollout."""

    actions = {
        "GET": Action.ROLLOUT_READ,
        "PATCH": Action.ROLLOUT_MANAGE,
        "DELETE": Action.ROLLOUT_MANAGE,
    }

    @extend_schema(operation_id="rollouts_read")
    def get(self, _request: Request, pk: str) -> Response:
        """Return the rollout: its plan, its progress and its failures by reason."""
        return self.answer(self.rollout(pk))

    @extend_schema(operation_id="rollouts_update", request=RolloutChange, responses=RolloutDetail)
    def patch(self, request: Request, pk: str) -> Response:
        """Change a draft."""
        given = checked(RolloutChange, request)
        changes = plan_members(given) | ({"name": given["name"]} if "name" in given else {})
        rollout = rollouts.rollout_update(
            rollout=self.rollout(pk), changes=changes, principal=self.principal, now=clock.now()
        )
        return self.answer(rollout)

    @extend_schema(operation_id="rollouts_delete", responses={204: None})
    def delete(self, _request: Request, pk: str) -> Response:
        """Throw a draft away."""
        rollouts.rollout_delete(rollout=self.rollout(pk), principal=self.principal)
        return Response(status=204)


class RolloutTargets(PortalView, ListAPIView[RolloutTarget]):
    """The devices of a rollout."""

    actions = {"GET": Action.ROLLOUT_READ}
    serializer_class = RolloutTargetOutput
    queryset = RolloutTarget.objects.none()
    filterset_class = RolloutTargetFilter
    pagination_class = Cursors
    cursor_ordering = "id"
    filter_backends = CURSOR_FILTERS
    search_fields = ["device__device_id"]

    def get_queryset(self) -> Any:
        """Only devices the caller may see, of a rollout they may see."""
        rollout = rollout_or_404(self.principal, self.kwargs["pk"])
        targets = RolloutTarget.objects.visible_to(self.principal).filter(rollout=rollout)
        return targets.select_related("device", "update").annotate(state=state_of_target())

    @extend_schema(operation_id="rollouts_targets")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the devices with their place in the order and what became of each."""
        return super().get(request, *args, **kwargs)


class RolloutEvents(PortalView, ListAPIView[RolloutEvent]):
    """The story of a rollout."""

    actions = {"GET": Action.ROLLOUT_READ}
    serializer_class = RolloutEventOutput
    queryset = RolloutEvent.objects.none()
    filterset_class = RolloutEventFilter
    pagination_class = Cursors
    filter_backends = CURSOR_FILTERS
    search_fields = ["message"]

    def get_queryset(self) -> Any:
        """Of a rollout the caller may see."""
        rollout = rollout_or_404(self.principal, self.kwargs["pk"])
        return RolloutEvent.objects.visible_to(self.principal).filter(rollout=rollout)

    @extend_schema(operation_id="rollouts_events")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List what happened, newest first."""
        return super().get(request, *args, **kwargs)

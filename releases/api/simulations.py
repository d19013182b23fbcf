"""What a plan would do, over REST: nothing is changed by asking."""

from typing import Any

from django.db.models import Count
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView
from accounts.policy import Action
from common import clock, limits
from releases.api.finding import release_or_404
from releases.api.plan_serializers import plan_members
from releases.api.rollouts import OneRolloutView, checked
from releases.api.simulation_serializers import (
    RolloutPreviewInput,
    RolloutPreviewOutput,
    SimulateInput,
    SimulationOutput,
    SimulationQuery,
)
from releases.services import rollouts, simulation
from releases.services.plans import Plan
from releases.services.targets import selected


class RolloutPreview(PortalView):
    """What a selection means."""

    actions = {"POST": Action.ROLLOUT_MANAGE}
    serializer_class = RolloutPreviewOutput

    @extend_schema(
        operation_id="rollouts_preview",
        request=RolloutPreviewInput,
        responses=RolloutPreviewOutput,
    )
    def post(self, request: Request) -> Response:
        """Count the devices a rollout would cover now."""
        given = checked(RolloutPreviewInput, request)
        release = release_or_404(self.principal, given["release"])
        devices = selected(
            selection=dict(given.get("selection") or {"all": True}), principal=self.principal
        )
        if release.roles:
            devices = devices.filter(role__in=release.roles)
        counted: Any = devices.order_by().values_list("segment").annotate(count=Count("pk"))
        by_segment = dict(counted)
        first = devices.order_by("device_id").values_list("device_id", flat=True)
        answer = {
            "count": sum(by_segment.values()),
            "by_segment": by_segment,
            "devices": list(first.distinct()[: limits.BATCH_SHOWN]),
        }
        return Response(RolloutPreviewOutput(answer).data)


class Simulate(PortalView):
    """A plan that was not saved."""

    actions = {"POST": Action.ROLLOUT_MANAGE}
    serializer_class = SimulationOutput

    @extend_schema(
        operation_id="rollouts_simulate", request=SimulateInput, responses=SimulationOutput
    )
    def post(self, request: Request) -> Response:
        """Tell what the plan would do from now on."""
        given = checked(SimulateInput, request)
        now = clock.now()
        simulated = simulation.of_plan(
            release=release_or_404(self.principal, given["release"]),
            plan=Plan(**plan_members(given)),
            principal=self.principal,
            now=now,
        )
        return Response(SimulationOutput(simulation.simulate(simulated, now=now)).data)


class RolloutSimulation(OneRolloutView):
    """A plan that was saved."""

    actions = {"GET": Action.ROLLOUT_READ}

    @extend_schema(
        operation_id="rollouts_simulation",
        parameters=[SimulationQuery],
        responses=SimulationOutput,
    )
    def get(self, request: Request, pk: str) -> Response:
        """Tell what the rollout would do from now on, and what changed since it was frozen."""
        rollout = self.rollout(pk)
        rollouts.whole(rollout, self.principal)
        wanted = SimulationQuery(data=request.query_params)
        wanted.is_valid(raise_exception=True)
        simulated = simulation.of_rollout(rollout=rollout, principal=self.principal)
        told = simulation.simulate(simulated, now=clock.now(), **wanted.validated_data)
        return Response(SimulationOutput(told).data)

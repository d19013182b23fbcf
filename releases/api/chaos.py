"""Hooks for tests of the whole chain. They exist only where `FLEET_CHAOS` is on."""

from typing import Any

from django.conf import settings
from django.http import Http404
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView, visible_or_404
from accounts.policy import Action
from common import clock, limits
from devices.models import Device
from releases.models import ChaosOrder
from releases.services.chaos import STEPS, chaos_offline, chaos_order

_DONE = OpenApiResponse(description="Noted.")


class ChaosInput(serializers.Serializer):
    """Which device."""

    device_id = serializers.RegexField(limits.DEVICE_ID_PATTERN)


class FailUpdateInput(ChaosInput):
    """What its next updates do wrong, at which step, and how often."""

    at = serializers.ChoiceField(choices=STEPS, default="starting")
    mode = serializers.ChoiceField(choices=ChaosOrder.Mode.choices, default="fail")
    times = serializers.IntegerField(min_value=0, max_value=1_000, default=1)


class ChaosView(PortalView):
    """Base of the hooks."""

    actions = {"POST": Action.CHAOS_USE}
    serializer_class = ChaosInput

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Be absent unless switched on, even when somebody routes here."""
        if not settings.CHAOS_HOOKS:
            raise Http404
        super().initial(request, *args, **kwargs)

    def device(self, given: dict[str, Any]) -> Device:
        """Return the visible device or raise 404."""
        rows = Device.objects.select_related("organization")
        found: Device = visible_or_404(rows, self.principal, device_id=given["device_id"])
        return found


class FailUpdate(ChaosView):
    """An update that goes wrong."""

    serializer_class = FailUpdateInput

    @extend_schema(operation_id="test_fail_update", request=FailUpdateInput, responses={204: _DONE})
    def post(self, request: Request) -> Response:
        """Have the device's next updates fail, hang, or claim what is not so.

        `fail` ends at the step `at` with the failure class that is usual there; `hang` is silent
        from that step on until the portal gives the update up. What ran before runs afterwards.
        """
        wanted = FailUpdateInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        given = wanted.validated_data
        device = self.device(given)
        what = {name: given[name] for name in ("mode", "at", "times")}
        chaos_order(device=device, actor=self.principal, now=clock.now(), **what)
        return Response(status=204)


class FalseSuccess(ChaosView):
    """A device that claims what is not so."""

    @extend_schema(operation_id="test_false_success", request=ChaosInput, responses={204: _DONE})
    def post(self, request: Request) -> Response:
        """Have the device claim its next update without doing it.

        Its heartbeats go on telling the version that runs: the portal finds a false success.
        """
        wanted = ChaosInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        chaos_order(
            device=self.device(wanted.validated_data),
            mode=ChaosOrder.Mode.FALSE_SUCCESS,
            at="",
            times=1,
            actor=self.principal,
            now=clock.now(),
        )
        return Response(status=204)


class Offline(ChaosView):
    """A device that is away."""

    @extend_schema(operation_id="test_offline", request=ChaosInput, responses={204: _DONE})
    def post(self, request: Request) -> Response:
        """Take the device for offline until its next heartbeat."""
        wanted = ChaosInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        device = self.device(wanted.validated_data)
        chaos_offline(device=device, actor=self.principal, now=clock.now())
        return Response(status=204)

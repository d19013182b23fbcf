"""The way back of devices that went wrong: what people do."""

from datetime import timedelta
from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView, visible_or_404
from accounts.policy import Action
from common import clock
from devices.models import Device
from devices.services import recovery as facts
from releases.api.recovery_serializers import (
    ModeInput,
    QuarantineInput,
    RecoveryOutput,
    RedeployInput,
    RedeployOutput,
    WhyInput,
)
from releases.models import Release
from releases.selectors.recovery import recovery_of
from releases.services.recovery import quarantine_begin, recovery_exit
from releases.services.redeploy import recovery_redeploy


class OneRecoveryView(PortalView):
    """Base of endpoints about the recovery of the device in the path."""

    def device(self, device_id: str) -> Device:
        """Return the visible device or raise 404; a device reaches itself only."""
        rows = Device.objects.select_related("organization", "recovery")
        found: Device = visible_or_404(rows, self.principal, device_id=device_id)
        if self.principal.kind == "device" and found.pk != self.principal.id:
            raise Http404
        return found


def recovery_shown(device: Device) -> Response:
    """Answer with where the device stands."""
    return Response(RecoveryOutput(recovery_of(device)).data)


class ExitRecovery(OneRecoveryView):
    """Out of safe mode."""

    actions = {"POST": Action.RECOVERY_OPERATE}
    serializer_class = RecoveryOutput

    @extend_schema(operation_id="recovery_exit", request=ModeInput, responses=RecoveryOutput)
    def post(self, request: Request, device_id: str) -> Response:
        """Let the device out of safe mode by hand; 409 when it is not in."""
        device = self.device(device_id)
        wanted = ModeInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        reason = wanted.validated_data["reason"]
        recovery_exit(device=device, reason=reason, actor=self.principal, now=clock.now())
        return recovery_shown(device)


class Redeploy(OneRecoveryView):
    """A release once more, on a device that went wrong."""

    actions = {"POST": Action.RECOVERY_OPERATE}
    serializer_class = RedeployOutput

    @extend_schema(
        operation_id="recovery_redeploy", request=RedeployInput, responses={201: RedeployOutput}
    )
    def post(self, request: Request, device_id: str) -> Response:
        """Schedule a published release; safe mode ends when it is verified on the device."""
        device = self.device(device_id)
        wanted = RedeployInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        given: dict[str, Any] = dict(wanted.validated_data)
        force_reason = given.pop("force_reason")
        lookup = {"pk" if name == "release_id" else name: value for name, value in given.items()}
        update = recovery_redeploy(
            device=device,
            release=visible_or_404(
                Release.objects.all(),
                self.principal,
                organization=device.organization,
                **lookup,
            ),
            actor=self.principal,
            now=clock.now(),
            force_reason=force_reason,
        )
        return Response(RedeployOutput(update).data, status=201)


class Quarantine(OneRecoveryView):
    """No updates for a while."""

    actions = {"POST": Action.RECOVERY_OPERATE}
    serializer_class = RecoveryOutput

    @extend_schema(
        operation_id="recovery_quarantine", request=QuarantineInput, responses=RecoveryOutput
    )
    def post(self, request: Request, device_id: str) -> Response:
        """Keep updates away for `minutes` from now; again with another time moves the end."""
        device = self.device(device_id)
        wanted = QuarantineInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        now = clock.now()
        quarantine_begin(
            device=device,
            until=now + timedelta(minutes=wanted.validated_data["minutes"]),
            reason=wanted.validated_data["reason"],
            actor=self.principal,
            now=now,
        )
        return recovery_shown(device)


class EndQuarantine(OneRecoveryView):
    """Updates again, before the time is over."""

    actions = {"POST": Action.RECOVERY_OPERATE}
    serializer_class = RecoveryOutput

    @extend_schema(
        operation_id="recovery_quarantine_end", request=WhyInput, responses=RecoveryOutput
    )
    def post(self, request: Request, device_id: str) -> Response:
        """Let the device out of quarantine; 409 when it is not in."""
        device = self.device(device_id)
        wanted = WhyInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        reason = wanted.validated_data["reason"]
        facts.device_quarantine_end(
            device=device, reason=reason, actor=self.principal, now=clock.now()
        )
        return recovery_shown(device)

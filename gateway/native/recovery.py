"""Recovery paths that devices and people share, and what devices send about it."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.policy import Action
from common import clock
from devices.models import DeviceRecovery
from releases.api.recovery import OneRecoveryView, recovery_shown
from releases.api.recovery_serializers import DiagnosticsInput, ModeInput, RecoveryOutput
from releases.services.diagnostics import diagnostics_store
from releases.services.recovery import recovery_enter


class Recovery(OneRecoveryView):
    """Where a device stands."""

    actions = {"GET": Action.RECOVERY_READ}
    serializer_class = RecoveryOutput

    @extend_schema(operation_id="recovery_read")
    def get(self, _request: Request, device_id: str) -> Response:
        """Return safe mode, quarantine, failures in a row, diagnostics and the last updates."""
        return recovery_shown(self.device(device_id))


class EnterRecovery(OneRecoveryView):
    """Into safe mode."""

    actions = {"POST": Action.RECOVERY_ENTER}
    serializer_class = RecoveryOutput

    @extend_schema(operation_id="recovery_enter", request=ModeInput, responses=RecoveryOutput)
    def post(self, request: Request, device_id: str) -> Response:
        """Put the device into safe mode; one that is there already stays as it is.

        A device says so of itself. For people it is an order: the device is told, and what waits
        of its updates is cancelled.
        """
        device = self.device(device_id)
        wanted = ModeInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        is_device = self.principal.kind == "device"
        source = DeviceRecovery.Source.AGENT if is_device else DeviceRecovery.Source.OPERATOR
        recovery_enter(
            device=device,
            reason=wanted.validated_data["reason"],
            source=source,
            actor=self.principal,
            now=clock.now(),
        )
        return recovery_shown(device)


class Diagnostics(OneRecoveryView):
    """What a device finds when it looks at itself."""

    actions = {"POST": Action.RECOVERY_REPORT}
    serializer_class = DiagnosticsInput

    @extend_schema(
        operation_id="recovery_diagnostics", request=DiagnosticsInput, responses=RecoveryOutput
    )
    def post(self, request: Request, device_id: str) -> Response:
        """Keep the diagnostics in place of the last ones; secrets in them are taken out."""
        device = self.device(device_id)
        wanted = DiagnosticsInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        diagnostics_store(
            device=device,
            body=wanted.validated_data,
            actor=self.principal,
            now=clock.now(),
        )
        return recovery_shown(device)

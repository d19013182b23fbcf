"""What devices ask of the portal besides the hot paths, and paths devices and people share."""

from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView, visible_or_404
from accounts.policy import Action
from commands import services as command_services
from commands.api.filters import CommandFilter
from commands.api.orders import order_of
from commands.api.serializers import (
    CommandOutput,
    QueueCommandInput,
)
from commands.api.views import shown
from commands.models import Command
from common import clock
from common.paging import CURSOR_FILTERS, Cursors
from devices import selectors
from devices.api.enrollment_serializers import DeviceConfig, RotateInput, RotateOutput
from devices.models import Device, DeviceToken
from devices.services.tokens import digest_from_hex, token_rotate


class DeviceView(PortalView):
    """Base of endpoints about the device in the path; a device reaches itself only."""

    def device(self, device_id: str) -> Device:
        """Return the visible device or raise 404."""
        if self.principal.kind == "device":
            return self._itself(device_id)
        rows = Device.objects.select_related("state", "organization")
        found: Device = visible_or_404(rows, self.principal, device_id=device_id)
        return found

    def _itself(self, device_id: str) -> Device:
        """Return the device that asks, as its token was found with it a moment ago."""
        token = self.request.auth
        if not isinstance(token, DeviceToken) or token.device.device_id != device_id:
            raise Http404
        return token.device


class DeviceConfigView(DeviceView):
    """What an agent pulls before it converges."""

    actions = {"GET": Action.DEVICE_CONFIG}
    serializer_class = DeviceConfig

    @extend_schema(operation_id="devices_config")
    def get(self, _request: Request, device_id: str) -> Response:
        """Return the device's configuration."""
        return Response(selectors.device_config(self.device(device_id), now=clock.now()))


class RotateToken(DeviceView):
    """Changing a device's token without locking it out."""

    actions = {"POST": Action.DEVICE_ROTATE}
    serializer_class = RotateOutput

    @extend_schema(operation_id="devices_token_rotate", request=RotateInput, responses=RotateOutput)
    def post(self, request: Request, device_id: str) -> Response:
        """Add a successor to the token; the old one ends at the first use of the new one."""
        device = self.device(device_id)
        wanted = RotateInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        digest = wanted.validated_data.get("token_sha256")
        token, ends_at = token_rotate(
            device=device,
            sha256=digest_from_hex(digest) if digest else None,
            actor=self.principal,
            now=clock.now(),
        )
        return Response(RotateOutput({"token": token, "previous_expires_at": ends_at}).data)


class DeviceCommands(DeviceView, ListAPIView[Command]):
    """The commands of one device."""

    actions = {"GET": Action.COMMAND_READ, "POST": Action.COMMAND_CREATE}
    serializer_class = CommandOutput
    queryset = Command.objects.none()
    filterset_class = CommandFilter
    pagination_class = Cursors
    filter_backends = CURSOR_FILTERS

    def get_queryset(self) -> Any:
        """Only of a device the caller may see."""
        device = self.device(self.kwargs.get("device_id", ""))
        commands = Command.objects.visible_to(self.principal).filter(device=device)
        return commands.select_related("device")

    @extend_schema(operation_id="devices_commands_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the device's commands, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="devices_commands_queue",
        request=QueueCommandInput,
        responses={201: CommandOutput},
    )
    def post(self, request: Request, device_id: str) -> Response:
        """Queue a command for the device."""
        device = self.device(device_id)
        wanted = QueueCommandInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        given = wanted.validated_data
        kind, payload, options = order_of(given, kind="type", principal=self.principal)
        command = command_services.command_queue(
            device=device,
            kind=kind,
            payload=payload,
            options=options,
            request_id=given.get("request_id"),
            actor=self.principal,
            now=clock.now(),
        )
        return shown(command, 201)

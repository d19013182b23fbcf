"""What devices ask of the portal besides the hot paths, and paths devices and people share."""

import tempfile
from collections.abc import Mapping
from datetime import timedelta
from typing import IO, Any

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ParseError
from rest_framework.generics import ListAPIView
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView, visible_or_404
from accounts.policy import Action
from commands import services as command_services
from commands.api.filters import CommandFilter
from commands.api.serializers import (
    BundleOutput,
    CommandOutput,
    CommandReportInput,
    QueueCommandInput,
)
from commands.api.views import OneCommandView
from commands.models import Command
from common import clock, limits
from common.paging import CURSOR_FILTERS, Cursors
from common.parsers import BodyTooLarge
from devices import selectors
from devices.api.serializers import DeviceConfig, RotateInput, RotateOutput
from devices.models import Device
from devices.services.tokens import digest_from_hex, token_rotate


class DeviceView(PortalView):
    """Base of endpoints about the device in the path; a device reaches itself only."""

    def device(self, device_id: str) -> Device:
        """Return the visible device or raise 404."""
        rows = Device.objects.select_related("state", "organization")
        found: Device = visible_or_404(rows, self.principal, device_id=device_id)
        if self.principal.kind == "device" and found.pk != self.principal.id:
            raise Http404
        return found


class DeviceConfigView(DeviceView):
    """What an agent pulls before it converges."""

    actions = {"GET": Action.DEVICE_CONFIG}
    serializer_class = DeviceConfig

    @extend_schema(operation_id="devices_config")
    def get(self, _request: Request, device_id: str) -> Response:
        """Return the device's configuration."""
        return Response(selectors.device_config(self.device(device_id)))


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
        command = command_services.command_queue(
            device=device,
            kind=given["type"],
            payload=given["payload"],
            priority=given["priority"],
            ttl=timedelta(seconds=given["expires_in_s"]),
            actor=self.principal,
            now=clock.now(),
        )
        return Response(CommandOutput(command).data, status=201)


class CommandDetail(OneCommandView):
    """One command: people read it, its device reports on it."""

    actions = {"GET": Action.COMMAND_READ, "PATCH": Action.COMMAND_REPORT}
    serializer_class = CommandOutput

    @extend_schema(operation_id="commands_read")
    def get(self, _request: Request, pk: str) -> Response:
        """Return the command with result and output."""
        return Response(CommandOutput(self.command(pk)).data)

    @extend_schema(
        operation_id="commands_report", request=CommandReportInput, responses=CommandOutput
    )
    def patch(self, request: Request, pk: str) -> Response:
        """Report on an attempt. The same report twice is accepted; 409 when it does not fit."""
        command = self.command(pk)
        wanted = CommandReportInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        updated = command_services.command_report(
            command=command,
            report=command_services.Report(**wanted.validated_data),
            actor=self.principal,
            now=clock.now(),
        )
        return Response(CommandOutput(updated).data)


class ArchiveParser(BaseParser):
    """A raw archive, spooled to disk."""

    media_type = "application/gzip"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return an open file positioned at its start, or raise BodyTooLarge."""
        spool = tempfile.SpooledTemporaryFile(max_size=limits.BODY_BYTES)  # noqa: SIM115 - returned
        while chunk := stream.read(64 * 1024):
            spool.write(chunk)
            if spool.tell() > limits.BUNDLE_BYTES:
                spool.close()
                raise BodyTooLarge(f"A bundle may have {limits.BUNDLE_BYTES} bytes. Send less.")
        spool.seek(0)
        return spool


class BundleUpload(OneCommandView):
    """Where a device sends the archive a `bundle` command asked for."""

    actions = {"POST": Action.COMMAND_REPORT}
    parser_classes = [ArchiveParser]
    serializer_class = BundleOutput

    @extend_schema(
        operation_id="commands_bundle_upload",
        request={"application/gzip": OpenApiTypes.BINARY},
        responses={201: BundleOutput},
        parameters=[
            OpenApiParameter(
                "X-Content-SHA256",
                OpenApiTypes.STR,
                OpenApiParameter.HEADER,
                description="SHA-256 of the archive in hex; compared when sent.",
            )
        ],
    )
    def post(self, request: Request, pk: str) -> Response:
        """Keep the archive; sending the same one again is accepted."""
        command = self.command(pk)
        content: Any = request.data
        if not hasattr(content, "seek"):
            raise ParseError("The body is empty. Send the archive.")
        size = content.seek(0, 2)
        content.seek(0)
        bundle = command_services.bundle_store(
            command=command,
            content=content,
            size=size,
            sha256=request.headers.get("X-Content-SHA256", ""),
            actor=self.principal,
            now=clock.now(),
        )
        return Response(BundleOutput(bundle).data, status=201)

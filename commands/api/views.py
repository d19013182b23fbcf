"""Commands over REST: what people and their programs ask and order."""

from datetime import timedelta
from typing import Any

from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView, visible_or_404
from accounts.policy import Action
from commands import services
from commands.api.filters import CommandFilter
from commands.api.serializers import (
    BundleOutput,
    CommandOutput,
    CommandStatusOutput,
    PushBatchInput,
    PushBatchOutput,
    PushCommandInput,
    PushCommandOutput,
)
from commands.errors import ProtocolUnavailable
from commands.models import Command, SupportBundle
from common import clock
from common.errors import DomainError
from common.paging import CURSOR_FILTERS, Cursors
from devices.models import Device

PROTOCOLS = ["agent"]


class PushingView(PortalView):
    """Queues commands named by device id."""

    def push(self, given: dict[str, Any]) -> Command:
        """Queue one validated PushCommandInput. Raises DomainError or 404."""
        if given["protocol"] not in PROTOCOLS:
            raise ProtocolUnavailable(
                f"No transport for “{given['protocol']}” is configured."
                f" Available: {', '.join(PROTOCOLS)}."
            )
        device = visible_or_404(
            Device.objects.select_related("organization"),
            self.principal,
            device_id=given["device_id"],
        )
        return services.command_queue(
            device=device,
            kind=given["command_type"],
            payload=given["payload"],
            priority=given["priority"],
            ttl=timedelta(seconds=given["expires_in_s"]),
            actor=self.principal,
            now=clock.now(),
        )


class Commands(PushingView, ListAPIView[Command]):
    """Every command of the organisation."""

    actions = {"GET": Action.COMMAND_READ, "POST": Action.COMMAND_CREATE}
    serializer_class = CommandOutput
    queryset = Command.objects.none()
    filterset_class = CommandFilter
    pagination_class = Cursors
    filter_backends = CURSOR_FILTERS
    search_fields = ["device__device_id", "kind", "created_by"]

    def get_queryset(self) -> Any:
        """Only what the caller may see; large texts are left to the detail."""
        return Command.objects.visible_to(self.principal).select_related("device")

    @extend_schema(operation_id="commands_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List commands, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="commands_push", request=PushCommandInput, responses={200: PushCommandOutput}
    )
    def post(self, request: Request) -> Response:
        """Queue a command for the device named in the body."""
        wanted = PushCommandInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        return Response(_pushed(self.push(wanted.validated_data)))


def _pushed(command: Command) -> dict[str, Any]:
    outcome = {
        "success": True,
        "request_id": command.pk,
        "message": f"Queued for {command.device.device_id}.",
        "timestamp": command.created_at,
    }
    return dict(PushCommandOutput(outcome).data)


class CommandBatch(PushingView):
    """Many commands in one request."""

    actions = {"POST": Action.COMMAND_CREATE}
    serializer_class = PushBatchOutput

    @extend_schema(
        operation_id="commands_push_batch",
        request=PushBatchInput,
        responses={200: PushBatchOutput},
    )
    def post(self, request: Request) -> Response:
        """Queue each command by itself; a refused one does not hold up the others."""
        wanted = PushBatchInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        results = [self._one(item) for item in wanted.validated_data["commands"]]
        successful = sum(1 for result in results if result["success"])
        return Response(
            {
                "total_commands": len(results),
                "successful": successful,
                "failed": len(results) - successful,
                "results": results,
            }
        )

    def _one(self, item: dict[str, Any]) -> dict[str, Any]:
        wanted = PushCommandInput(data=item)
        if not wanted.is_valid():
            return self._refused(
                "; ".join(f"{name}: {why[0]}" for name, why in wanted.errors.items())
            )
        visible = Device.objects.visible_to(self.principal)
        if not visible.filter(device_id=wanted.validated_data["device_id"]).exists():
            return self._refused("There is no such device.")
        try:
            return _pushed(self.push(wanted.validated_data))
        except DomainError as refusal:
            return self._refused(refusal.message)

    def _refused(self, message: str) -> dict[str, Any]:
        outcome = {
            "success": False,
            "request_id": None,
            "message": message,
            "timestamp": clock.now(),
        }
        return dict(PushCommandOutput(outcome).data)


class OneCommandView(PortalView):
    """Base of endpoints about one command."""

    def command(self, pk: str) -> Command:
        """Return the visible command or raise 404."""
        rows = Command.objects.select_related("device", "organization")
        found: Command = visible_or_404(rows, self.principal, pk=pk)
        return found


class CommandStatusView(OneCommandView):
    """Where a command is."""

    actions = {"GET": Action.COMMAND_READ}
    serializer_class = CommandStatusOutput

    @extend_schema(operation_id="commands_status")
    def get(self, _request: Request, pk: str) -> Response:
        """Return the status alone."""
        return Response(CommandStatusOutput(self.command(pk)).data)


class CancelCommand(OneCommandView):
    """Taking a command back."""

    actions = {"POST": Action.COMMAND_CANCEL}
    serializer_class = CommandOutput

    @extend_schema(operation_id="commands_cancel", request=None, responses=CommandOutput)
    def post(self, _request: Request, pk: str) -> Response:
        """Cancel a command that has not ended (409 `command_ended` otherwise)."""
        command = services.command_cancel(
            command=self.command(pk), actor=self.principal, now=clock.now()
        )
        return Response(CommandOutput(command).data)


class RetryCommand(OneCommandView):
    """Ordering the same again."""

    actions = {"POST": Action.COMMAND_CREATE}
    serializer_class = CommandOutput

    @extend_schema(operation_id="commands_retry", request=None, responses={201: CommandOutput})
    def post(self, _request: Request, pk: str) -> Response:
        """Queue a new command like one that ended badly; the old one stays as it is."""
        command = services.command_retry(
            command=self.command(pk), actor=self.principal, now=clock.now()
        )
        return Response(CommandOutput(command).data, status=201)


class Bundles(PortalView, ListAPIView[SupportBundle]):
    """Support bundles devices sent."""

    actions = {"GET": Action.BUNDLE_READ}
    serializer_class = BundleOutput
    queryset = SupportBundle.objects.none()
    pagination_class = Cursors
    filter_backends = CURSOR_FILTERS
    search_fields = ["device__device_id"]

    def get_queryset(self) -> Any:
        """Only what the caller may see."""
        return SupportBundle.objects.visible_to(self.principal).select_related("device")

    @extend_schema(operation_id="bundles_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List bundles, newest first."""
        return super().get(request, *args, **kwargs)


class BundleDownload(PortalView):
    """The archive of a bundle."""

    actions = {"GET": Action.BUNDLE_READ}
    serializer_class = BundleOutput

    @extend_schema(
        operation_id="bundles_download",
        responses={(200, "application/gzip"): OpenApiResponse(OpenApiTypes.BINARY)},
    )
    def get(self, _request: Request, pk: str) -> FileResponse:
        """Return the archive as an attachment; the download is written to the log."""
        rows = SupportBundle.objects.select_related("device", "organization")
        bundle = visible_or_404(rows, self.principal, pk=pk)
        content = services.bundle_read(bundle=bundle, actor=self.principal)
        return FileResponse(
            content,
            as_attachment=True,
            filename=f"{bundle.device.device_id}-{bundle.pk}.tar.gz",
            content_type="application/gzip",
        )

"""One command over REST: where it is, how it got there, and what people do about it."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView, visible_or_404
from accounts.policy import Action
from commands import services
from commands.api.orders import expected_version
from commands.api.serializers import (
    CancelInput,
    CommandOutput,
    CommandStatusOutput,
    TimelineOutput,
    VersionInput,
    WhyOutput,
)
from commands.models import Command
from commands.reasons import waiting_reasons
from common import clock

IF_MATCH = OpenApiParameter(
    "If-Match",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description='The version looked at, like "3"; 409 `version_conflict` when it has moved.',
)


class OneCommandView(PortalView):
    """Base of endpoints about one command."""

    def command(self, pk: str) -> Command:
        """Return the visible command or raise 404."""
        rows = Command.objects.select_related("device", "organization", "batch")
        found: Command = visible_or_404(rows, self.principal, pk=pk)
        return found


def shown(command: Command, status: int = 200) -> Response:
    """Return a command; its version is also its ETag."""
    headers = {"ETag": f'"{command.version}"'}
    return Response(CommandOutput(command).data, status=status, headers=headers)


class CommandStatusView(OneCommandView):
    """Where a command is."""

    actions = {"GET": Action.COMMAND_READ}
    serializer_class = CommandStatusOutput

    @extend_schema(operation_id="commands_status")
    def get(self, _request: Request, pk: str) -> Response:
        """Return state, times and steps of a command."""
        return Response(CommandStatusOutput(self.command(pk)).data)


class CommandTimeline(OneCommandView):
    """How a command got where it is."""

    actions = {"GET": Action.COMMAND_INSPECT}
    serializer_class = TimelineOutput

    @extend_schema(operation_id="commands_timeline")
    def get(self, _request: Request, pk: str) -> Response:
        """Return every step and every attempt, oldest first."""
        command = self.command(pk)
        body = {
            "events": command.events.order_by("pk"),
            "attempts": command.attempts.order_by("number"),
        }
        return Response(TimelineOutput(body).data)


class CommandWhy(OneCommandView):
    """Why a command has not run yet."""

    actions = {"GET": Action.COMMAND_INSPECT}
    serializer_class = WhyOutput

    @extend_schema(operation_id="commands_why")
    def get(self, _request: Request, pk: str) -> Response:
        """Return what keeps the command waiting."""
        command = self.command(pk)
        reasons = waiting_reasons(command=command, now=clock.now())
        waiting = command.status in (Command.Status.QUEUED, Command.Status.DELIVERED)
        return Response(WhyOutput({"waiting": waiting, "reasons": reasons}).data)


class CancelCommand(OneCommandView):
    """Taking a command back."""

    actions = {"POST": Action.COMMAND_CANCEL}
    serializer_class = CommandOutput

    @extend_schema(
        operation_id="commands_cancel",
        request=CancelInput,
        responses=CommandOutput,
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, pk: str) -> Response:
        """Cancel a command that has not ended (409 `command_ended` otherwise).

        A device that holds it is asked to stop and has `timeout_s` seconds for it; `force`
        cancels at once, whatever the device does.
        """
        command = self.command(pk)
        wanted = CancelInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        given = wanted.validated_data
        cancelled = services.command_cancel(
            command=command,
            actor=self.principal,
            now=clock.now(),
            force=given["force"],
            timeout_s=given["timeout_s"],
            reason=given["reason"],
            expected_version=expected_version(request, given),
        )
        return shown(cancelled)


class RetryCommand(OneCommandView):
    """Ordering the same again."""

    actions = {"POST": Action.COMMAND_CREATE}
    serializer_class = CommandOutput

    @extend_schema(
        operation_id="commands_retry",
        request=VersionInput,
        responses={201: CommandOutput},
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, pk: str) -> Response:
        """Queue a new command like one that ended badly; the old one stays as it is."""
        command = self.command(pk)
        wanted = VersionInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        again = services.command_retry(
            command=command,
            actor=self.principal,
            now=clock.now(),
            expected_version=expected_version(request, wanted.validated_data),
        )
        return shown(again, 201)


class ReleaseCommand(OneCommandView):
    """Letting a held command go."""

    actions = {"POST": Action.COMMAND_CREATE}
    serializer_class = CommandOutput

    @extend_schema(
        operation_id="commands_release",
        request=VersionInput,
        responses=CommandOutput,
        parameters=[IF_MATCH],
    )
    def post(self, request: Request, pk: str) -> Response:
        """Release a command that is held (409 `command_not_held` otherwise)."""
        command = self.command(pk)
        wanted = VersionInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        released = services.command_release(
            command=command,
            actor=self.principal,
            now=clock.now(),
            expected_version=expected_version(request, wanted.validated_data),
        )
        return shown(released)

"""One command as its device sees it: reports, signs of life, output, the script to run."""

from typing import Any

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.policy import Action
from commands import services
from commands.api.serializers import (
    CommandOutput,
    CommandReportInput,
    LiveOutput,
    OutputInput,
    OutputTaken,
    RenewInput,
    RenewOutput,
    ReportedOutput,
    ScriptDocument,
)
from commands.api.views import OneCommandView, shown
from commands.models import Command
from commands.scripts import script_document
from common import clock, limits

# Pieces per answer: at most as much as one attempt may print altogether.
_PIECES = limits.OUTPUT_TOTAL_CHARS // limits.OUTPUT_CHUNK_CHARS


class CommandDetail(OneCommandView):
    """One command: people read it, its device reports on it."""

    actions = {"GET": Action.COMMAND_READ, "PATCH": Action.COMMAND_REPORT}
    serializer_class = CommandOutput

    @extend_schema(operation_id="commands_read")
    def get(self, _request: Request, pk: str) -> Response:
        """Return the command with result and output; its version is also its ETag."""
        return shown(self.command(pk))

    @extend_schema(
        operation_id="commands_report", request=CommandReportInput, responses=ReportedOutput
    )
    def patch(self, request: Request, pk: str) -> Response:
        """Report on an attempt. The same report twice is accepted; 409 when it does not fit.

        The answer is the command as it is then: a failure that is tried again is `queued`.
        """
        command = self.command(pk)
        wanted = CommandReportInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        updated = services.command_report(
            command=command,
            report=services.Report(**wanted.validated_data),
            actor=self.principal,
            now=clock.now(),
        )
        return Response(ReportedOutput(updated).data)


class RenewCommand(OneCommandView):
    """A sign of life of an attempt."""

    actions = {"POST": Action.COMMAND_REPORT}
    serializer_class = RenewOutput

    @extend_schema(operation_id="commands_renew", request=RenewInput, responses=RenewOutput)
    def post(self, request: Request, pk: str) -> Response:
        """Renew the lease before the run, or the timer of its step during it."""
        command = self.command(pk)
        wanted = RenewInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        renewed = services.command_renew(command=command, now=clock.now(), **wanted.validated_data)
        body = {
            "lease_expires_at": renewed.lease_expires_at,
            "run_deadline": renewed.run_deadline,
            "step_deadline": renewed.step_deadline,
            "cancel_requested": renewed.cancel_requested_at is not None,
        }
        return Response(RenewOutput(body).data)


class OutputQuery(serializers.Serializer):
    """Which attempt (the last one when absent), and after which piece."""

    attempt = serializers.IntegerField(min_value=0, max_value=limits.INT_MAX, required=False)
    after = serializers.IntegerField(
        min_value=-1, max_value=limits.INT_MAX, required=False, default=-1
    )


class CommandPieces(OneCommandView):
    """What an attempt prints while it runs."""

    actions = {"GET": Action.COMMAND_INSPECT, "POST": Action.COMMAND_REPORT}
    serializer_class = LiveOutput

    @extend_schema(
        operation_id="commands_output",
        parameters=[
            OpenApiParameter("attempt", OpenApiTypes.INT, description="The last one when absent."),
            OpenApiParameter("after", OpenApiTypes.INT, description="Pieces after this index."),
        ],
        responses=LiveOutput,
    )
    def get(self, request: Request, pk: str) -> Response:
        """Return pieces in order; ask again with `after` until `done`."""
        command = self.command(pk)
        wanted = OutputQuery(data=request.query_params)
        wanted.is_valid(raise_exception=True)
        return Response(LiveOutput(_pieces(command, **wanted.validated_data)).data)

    @extend_schema(
        operation_id="commands_output_append", request=OutputInput, responses={202: OutputTaken}
    )
    def post(self, request: Request, pk: str) -> Response:
        """Take one piece; the same again is accepted, after a gap 409 names the one to send."""
        command = self.command(pk)
        wanted = OutputInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        taken = services.output_append(command=command, now=clock.now(), **wanted.validated_data)
        return Response(OutputTaken(taken).data, status=202)


def _pieces(command: Command, *, after: int, attempt: int | None = None) -> dict[str, Any]:
    number = command.attempt if attempt is None else attempt
    chunks = list(
        command.chunks.filter(attempt=number, index__gt=after).order_by("index")[:_PIECES]
    )
    in_flight = number == command.attempt and command.status in ("delivered", "running")
    return {
        "attempt": number,
        "chunks": chunks,
        "next_index": chunks[-1].index + 1 if chunks else after + 1,
        "status": command.status,
        "done": not in_flight and len(chunks) < _PIECES,
    }


class CommandScript(OneCommandView):
    """The script a `run_script` command runs."""

    actions = {"GET": Action.COMMAND_REPORT}
    serializer_class = ScriptDocument

    @extend_schema(operation_id="commands_script", responses=ScriptDocument)
    def get(self, _request: Request, pk: str) -> Response:
        """Return the signed script; 404 for a command of another type."""
        command = self.command(pk)
        if command.kind != "run_script":
            raise Http404
        return Response(ScriptDocument(script_document(command=command)).data)

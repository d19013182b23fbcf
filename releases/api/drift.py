"""Repairing drift."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.policy import Action
from commands.api.serializers import CommandOutput
from common import clock, limits
from devices.api.drift import OneDriftView
from releases.services.drift_repair import drift_repair


class RepairInput(serializers.Serializer):
    """Which files of the report; all that differ when none is named."""

    paths = serializers.ListField(
        child=serializers.CharField(max_length=limits.DRIFT_PATH_CHARS, trim_whitespace=False),
        required=False,
        default=list,
        max_length=limits.DRIFT_REPAIR_PATHS,
    )


class RepairDrift(OneDriftView):
    """Putting files back as the release says."""

    actions = {"POST": Action.DRIFT_REPAIR}
    serializer_class = CommandOutput

    @extend_schema(operation_id="drift_repair", request=RepairInput, responses={201: CommandOutput})
    def post(self, request: Request, pk: str) -> Response:
        """Queue a command that repairs; 409 while one does, or an update is installed."""
        report = self.report(pk)
        wanted = RepairInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        command = drift_repair(
            report=report,
            paths=wanted.validated_data["paths"],
            actor=self.principal,
            now=clock.now(),
        )
        return Response(CommandOutput(command).data, status=201)

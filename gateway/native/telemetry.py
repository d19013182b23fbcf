"""What devices tell of themselves besides heartbeats: drift from their release."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView
from accounts.policy import Action
from common import clock, limits
from devices.models import Device
from devices.services.drift import drift_report

KINDS = ["changed", "missing", "added", "mode", "unreadable"]


class DriftItem(serializers.Serializer):
    """One file that is not what the release says.

    `expected` and `actual` are checksums, modes or any words; a file that is not there has none.
    """

    path = serializers.CharField(max_length=limits.DRIFT_PATH_CHARS, trim_whitespace=False)
    kind = serializers.ChoiceField(choices=KINDS, required=False, default="changed")
    expected = serializers.CharField(
        max_length=limits.LINE_CHARS, required=False, default="", allow_blank=True, allow_null=True
    )
    actual = serializers.CharField(
        max_length=limits.LINE_CHARS, required=False, default="", allow_blank=True, allow_null=True
    )


class DriftInput(serializers.Serializer):
    """What a comparison found; no items say that everything is as it should be.

    `count` is how many files differ altogether, when not all of them are sent.
    """

    release = serializers.CharField(
        max_length=limits.SHORT_CHARS, required=False, default="", allow_blank=True
    )
    items = serializers.ListField(child=DriftItem(), max_length=limits.DRIFT_ITEMS)
    count = serializers.IntegerField(min_value=0, max_value=limits.INT_MAX, required=False)


class DriftTaken(serializers.Serializer):
    """`id` is the open report; null when there is none (any more)."""

    id = serializers.UUIDField(allow_null=True)
    count = serializers.IntegerField()
    repair_command_id = serializers.UUIDField(allow_null=True)


class DriftTelemetry(PortalView):
    """Drift, by the device it is about."""

    actions = {"POST": Action.DRIFT_REPORT}
    serializer_class = DriftInput

    @extend_schema(operation_id="telemetry_drift", request=DriftInput, responses={202: DriftTaken})
    def post(self, request: Request) -> Response:
        """Take what the device found; it replaces what it said before."""
        device = Device.objects.visible_to(self.principal).get(pk=self.principal.id)
        wanted = DriftInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        given = wanted.validated_data
        report = drift_report(
            device=device,
            release=given["release"],
            items=[_plain(item) for item in given["items"]],
            count=given.get("count"),
            now=clock.now(),
        )
        body = {
            "id": report.pk if report else None,
            "count": report.count if report else 0,
            "repair_command_id": report.repair_command_id if report else None,
        }
        return Response(DriftTaken(body).data, status=202)


def _plain(item: Any) -> dict[str, str]:
    return {name: item[name] or "" for name in ("path", "kind", "expected", "actual")}

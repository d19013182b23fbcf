"""One timeline of a device."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from accounts.api.base import PortalView, visible_or_404
from accounts.policy import Action
from common import limits
from devices.models import Device, DeviceEvent
from releases.timeline import timeline


class TimelineQuery(serializers.Serializer):
    """Where to go on, and how many lines."""

    cursor = serializers.CharField(required=False, default="", max_length=limits.LINE_CHARS)
    page_size = serializers.IntegerField(
        min_value=1, max_value=limits.PAGE_SIZE_MAX, required=False, default=limits.PAGE_SIZE
    )


class TimelineEntryOutput(serializers.Serializer):
    """One line: a row of `source`, named by its id."""

    at = serializers.DateTimeField()
    source: Any = serializers.ChoiceField(choices=["command", "drift", "event", "update"])
    id = serializers.CharField()
    title = serializers.CharField()
    severity = serializers.ChoiceField(choices=DeviceEvent.Severity.choices)
    details = serializers.DictField()


class DeviceTimelineOutput(serializers.Serializer):
    """Lines, newest first, and the address of those after them."""

    next = serializers.CharField(allow_null=True)
    results = TimelineEntryOutput(many=True)


class DeviceTimeline(PortalView):
    """Everything that happened to one device."""

    actions = {"GET": Action.DEVICE_READ}
    serializer_class = DeviceTimelineOutput
    pagination_class = None
    filter_backends: list[Any] = []

    @extend_schema(
        operation_id="telemetry_device",
        parameters=[
            OpenApiParameter("cursor", OpenApiTypes.STR, description="As `next` has it."),
            OpenApiParameter("page_size", OpenApiTypes.INT),
        ],
        responses=DeviceTimelineOutput,
    )
    def get(self, request: Request, device_id: str) -> Response:
        """List events, commands, updates and drift of the device, newest first."""
        device = visible_or_404(Device.objects.all(), self.principal, device_id=device_id)
        asked = TimelineQuery(data=request.query_params)
        asked.is_valid(raise_exception=True)
        given = asked.validated_data
        lines, following = timeline(
            device=device,
            principal=self.principal,
            amount=given["page_size"],
            cursor=given["cursor"],
        )
        here = request.build_absolute_uri()
        body = {
            "next": replace_query_param(here, "cursor", following) if following else None,
            "results": lines,
        }
        return Response(DeviceTimelineOutput(body).data)

"""What devices said: heartbeats, events and metrics over time."""

from datetime import datetime, timedelta
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView, visible_or_404
from accounts.policy import Action
from common import clock, limits
from common.errors import InvalidInput
from common.paging import CURSOR_FILTERS, Cursors
from devices import selectors
from devices.api.filters import EventFilter, HeartbeatFilter
from devices.api.serializers import EventOutput, HeartbeatOutput, MetricsOutput, MetricsQuery
from devices.api.views import OneDeviceView
from devices.models import Device, DeviceEvent, Heartbeat


class Heartbeats(PortalView, ListAPIView[Heartbeat]):
    """The heartbeats of one device."""

    actions = {"GET": Action.DEVICE_READ}
    serializer_class = HeartbeatOutput
    queryset = Heartbeat.objects.none()
    filterset_class = HeartbeatFilter
    pagination_class = Cursors
    filter_backends = CURSOR_FILTERS
    cursor_ordering = ("-at", "-sequence")

    def get_queryset(self) -> Any:
        """Only of a device the caller may see."""
        device_id = self.kwargs.get("device_id")
        device = visible_or_404(Device.objects.all(), self.principal, device_id=device_id)
        return Heartbeat.objects.visible_to(self.principal).filter(device=device)

    @extend_schema(operation_id="devices_heartbeats")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List heartbeats, newest first."""
        return super().get(request, *args, **kwargs)


class Events(PortalView, ListAPIView[DeviceEvent]):
    """The history of one device."""

    actions = {"GET": Action.DEVICE_READ}
    serializer_class = EventOutput
    queryset = DeviceEvent.objects.none()
    filterset_class = EventFilter
    pagination_class = Cursors
    filter_backends = CURSOR_FILTERS
    cursor_ordering = ("-at", "-id")

    def get_queryset(self) -> Any:
        """Only of a device the caller may see."""
        device_id = self.kwargs.get("device_id")
        device = visible_or_404(Device.objects.all(), self.principal, device_id=device_id)
        return DeviceEvent.objects.visible_to(self.principal).filter(device=device)

    @extend_schema(operation_id="devices_events")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List events, newest first."""
        return super().get(request, *args, **kwargs)


class Metrics(OneDeviceView):
    """One metric of one device over time."""

    actions = {"GET": Action.DEVICE_READ}
    serializer_class = MetricsOutput
    pagination_class = None
    filter_backends: list[Any] = []

    @extend_schema(operation_id="devices_metrics", parameters=[MetricsQuery])
    def get(self, request: Request, device_id: str) -> Response:
        """Return a metric in buckets; by default the last hour in about 60 steps."""
        device = self.device(device_id)
        asked = MetricsQuery(data=request.query_params)
        asked.is_valid(raise_exception=True)
        start, end, step = _span(asked.validated_data)
        metric = asked.validated_data["metric"]
        points = selectors.metric_buckets(
            device=device, metric=metric, start=start, end=end, step=step
        )
        body = {"metric": metric, "step": int(step.total_seconds()), "points": points}
        return Response(MetricsOutput(body).data)


def _span(asked: dict[str, Any]) -> tuple[datetime, datetime, timedelta]:
    """Return start, end and step; refuse what would give more points than a page can use."""
    end = asked.get("to") or clock.now()
    start = asked.get("from") or _an_hour_before(end)
    if start >= end:
        raise InvalidInput("`from` must be before `to`.")
    seconds = asked.get("step") or max(1, int((end - start).total_seconds() // 60))
    if (end - start).total_seconds() / seconds > limits.METRIC_POINTS_MAX:
        raise InvalidInput(
            f"That is more than {limits.METRIC_POINTS_MAX} points. Take a larger `step`."
        )
    return start, end, timedelta(seconds=seconds)


def _an_hour_before(end: datetime) -> datetime:
    try:
        return end - timedelta(hours=1)
    except OverflowError:
        raise InvalidInput("`to` is too early.") from None

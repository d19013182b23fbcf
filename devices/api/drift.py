"""Drift: files of devices that are not what their release says."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView, visible_or_404
from accounts.policy import Action
from common.paging import CURSOR_FILTERS, Cursors
from devices.api.filters import DriftFilter
from devices.models import Device, DriftReport


class DriftItemOutput(serializers.Serializer):
    """One file: what was expected and what is there, as the device put it."""

    path = serializers.CharField()
    kind = serializers.CharField(help_text="changed, missing, added, mode or unreadable.")
    expected = serializers.CharField()
    actual = serializers.CharField()


class DriftSummary(serializers.ModelSerializer):
    """A drift report without its files; `count` says how many differ."""

    device_id = serializers.CharField(source="device.device_id", read_only=True)

    class Meta:
        model = DriftReport
        fields = [
            *("id", "device_id", "release", "count", "first_at", "last_at"),
            *("repair_command_id", "repair_note", "resolved_at"),
        ]
        read_only_fields = fields


class DriftOutput(DriftSummary):
    """A drift report with its files."""

    items = DriftItemOutput(many=True, read_only=True)

    class Meta(DriftSummary.Meta):
        fields = [*DriftSummary.Meta.fields, "items"]
        read_only_fields = fields


class FewerCursors(Cursors):
    """Pages of what is large."""

    page_size = 10
    max_page_size = 20


class DriftReports(PortalView, ListAPIView[DriftReport]):
    """Drift over the organisation."""

    actions = {"GET": Action.DRIFT_READ}
    serializer_class = DriftSummary
    queryset = DriftReport.objects.none()
    filterset_class = DriftFilter
    pagination_class = Cursors
    filter_backends = CURSOR_FILTERS
    search_fields = ["device__device_id", "release"]

    def get_queryset(self) -> Any:
        """Only of devices the caller may see."""
        return DriftReport.objects.visible_to(self.principal).select_related("device")

    @extend_schema(operation_id="drift_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List drift reports, newest first; `open=true` leaves out what is resolved."""
        return super().get(request, *args, **kwargs)


class OneDriftView(PortalView):
    """Base of endpoints about one drift report."""

    def report(self, pk: str) -> DriftReport:
        """Return the visible report or raise 404."""
        rows = DriftReport.objects.select_related("device__organization")
        found: DriftReport = visible_or_404(rows, self.principal, pk=pk)
        return found


class DriftDetail(OneDriftView):
    """One drift report."""

    actions = {"GET": Action.DRIFT_READ}
    serializer_class = DriftOutput

    @extend_schema(operation_id="drift_read")
    def get(self, _request: Request, pk: str) -> Response:
        """Return the report with its files."""
        return Response(DriftOutput(self.report(pk)).data)


class DeviceDrift(PortalView, ListAPIView[DriftReport]):
    """The drift of one device."""

    actions = {"GET": Action.DRIFT_READ}
    serializer_class = DriftOutput
    queryset = DriftReport.objects.none()
    filterset_class = DriftFilter
    pagination_class = FewerCursors
    filter_backends = CURSOR_FILTERS

    def get_queryset(self) -> Any:
        """Only of a device the caller may see."""
        device_id = self.kwargs.get("device_id")
        device = visible_or_404(Device.objects.all(), self.principal, device_id=device_id)
        reports = DriftReport.objects.visible_to(self.principal).filter(device=device)
        return reports.select_related("device")

    @extend_schema(operation_id="devices_drift")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the device's drift reports with their files, newest first."""
        return super().get(request, *args, **kwargs)

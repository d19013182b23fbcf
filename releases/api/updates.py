"""What became of updates: the history of a device, and one update with its trail."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView, visible_or_404
from accounts.policy import Action
from common.paging import CURSOR_FILTERS, Cursors
from devices.models import Device
from releases.api.update_filters import UpdateFilter
from releases.api.update_serializers import UpdateDetailOutput, UpdateOutput
from releases.models import DeviceUpdate


class DeviceUpdates(PortalView, ListAPIView[DeviceUpdate]):
    """The updates of one device."""

    actions = {"GET": Action.UPDATE_READ}
    serializer_class = UpdateOutput
    queryset = DeviceUpdate.objects.none()
    filterset_class = UpdateFilter
    pagination_class = Cursors
    filter_backends = CURSOR_FILTERS

    def get_queryset(self) -> Any:
        """Only of a device the caller may see."""
        device_id = self.kwargs.get("device_id")
        device = visible_or_404(Device.objects.all(), self.principal, device_id=device_id)
        updates = DeviceUpdate.objects.visible_to(self.principal).filter(device=device)
        return updates.select_related("device")

    @extend_schema(operation_id="devices_updates")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List the device's updates, newest first."""
        return super().get(request, *args, **kwargs)


class UpdateDetail(PortalView):
    """One update."""

    actions = {"GET": Action.UPDATE_READ}
    serializer_class = UpdateDetailOutput

    @extend_schema(operation_id="updates_read")
    def get(self, _request: Request, pk: int) -> Response:
        """Return the update with every step of it."""
        rows = DeviceUpdate.objects.select_related("device")
        update = visible_or_404(rows, self.principal, pk=pk)
        return Response(UpdateDetailOutput(update).data)

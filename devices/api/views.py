"""The registry over REST: what people and their programs ask and change."""

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView, visible_or_404
from accounts.policy import Action
from common import clock
from common.errors import InvalidInput
from devices.api.filters import DeviceFilter
from devices.api.serializers import (
    DeviceOutput,
    DeviceSummary,
    DeviceUpdateInput,
    ReasonInput,
    StatusInput,
)
from devices.models import Device, DeviceGroup
from devices.services import registry as services


class Devices(PortalView, ListAPIView[Device]):
    """The fleet."""

    actions = {"GET": Action.DEVICE_READ}
    serializer_class = DeviceSummary
    queryset = Device.objects.none()
    filterset_class = DeviceFilter
    search_fields = ["device_id", "name", "hostname", "serial"]
    ordering_fields = ["device_id", "name", "created_at", "state__last_seen", "state__health"]

    def get_queryset(self) -> Any:
        """Only what the caller may see."""
        devices = Device.objects.visible_to(self.principal).select_related("state")
        return devices.order_by("device_id", "pk")

    @extend_schema(operation_id="devices_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List devices; filters combine, `search` looks in ids, names, hostnames and serials."""
        return super().get(request, *args, **kwargs)


class OneDeviceView(PortalView):
    """Base of endpoints about one device, named by its device id."""

    def device(self, device_id: str) -> Device:
        """Return the visible device or raise 404."""
        rows = Device.objects.select_related("state", "organization")
        found: Device = visible_or_404(rows, self.principal, device_id=device_id)
        return found


class DeviceDetail(OneDeviceView):
    """One device."""

    actions = {
        "GET": Action.DEVICE_READ,
        "PATCH": Action.DEVICE_UPDATE,
        "DELETE": Action.DEVICE_RETIRE,
    }
    serializer_class = DeviceOutput

    @extend_schema(operation_id="devices_read")
    def get(self, _request: Request, device_id: str) -> Response:
        """Return everything known of the device."""
        return Response(DeviceOutput(self.device(device_id)).data)

    @extend_schema(operation_id="devices_update", request=DeviceUpdateInput, responses=DeviceOutput)
    def patch(self, request: Request, device_id: str) -> Response:
        """Write the fields in the body and no other."""
        device = self.device(device_id)
        wanted = DeviceUpdateInput(device, data=request.data, partial=True)
        wanted.is_valid(raise_exception=True)
        changes = dict(wanted.validated_data)
        names = changes.pop("groups", None)
        services.device_update(
            device=device,
            changes=changes,
            groups=None if names is None else self._groups(names),
            actor=self.principal,
            now=clock.now(),
        )
        return Response(DeviceOutput(self.device(device_id)).data)

    def _groups(self, names: list[str]) -> list[DeviceGroup]:
        found = list(DeviceGroup.objects.visible_to(self.principal).filter(name__in=names))
        missing = sorted(set(names) - {group.name for group in found})
        if missing:
            raise InvalidInput(
                f"There is no group {', '.join(missing)}.", errors={"groups": missing}
            )
        return found

    @extend_schema(operation_id="devices_retire", responses={204: None})
    def delete(self, _request: Request, device_id: str) -> Response:
        """Decommission the device: its tokens end at once, its history stays."""
        services.device_retire(device=self.device(device_id), actor=self.principal, now=clock.now())
        return Response(status=204)


class DeviceStatus(OneDeviceView):
    """The health a device is shown with."""

    actions = {"PATCH": Action.DEVICE_UPDATE}
    serializer_class = DeviceOutput

    @extend_schema(
        operation_id="devices_status_override", request=StatusInput, responses=DeviceOutput
    )
    def patch(self, request: Request, device_id: str) -> Response:
        """Fix the health until lifted (`status` null) or for `expires_in_s` seconds."""
        device = self.device(device_id)
        wanted = StatusInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        now = clock.now()
        seconds = wanted.validated_data.get("expires_in_s")
        services.device_status_override(
            device=device,
            status=wanted.validated_data["status"] or "",
            reason=wanted.validated_data["reason"],
            until=now + timedelta(seconds=seconds) if seconds else None,
            actor=self.principal,
            now=now,
        )
        return Response(DeviceOutput(self.device(device_id)).data)


class AcceptDevice(OneDeviceView):
    """The door for devices that enrolled themselves."""

    actions = {"POST": Action.DEVICE_ACCEPT}
    serializer_class = DeviceOutput

    @extend_schema(operation_id="devices_accept", request=None, responses=DeviceOutput)
    def post(self, _request: Request, device_id: str) -> Response:
        """Let a pending device in."""
        services.device_accept(device=self.device(device_id), actor=self.principal, now=clock.now())
        return Response(DeviceOutput(self.device(device_id)).data)


class RejectDevice(OneDeviceView):
    """The door for devices that enrolled themselves."""

    actions = {"POST": Action.DEVICE_ACCEPT}
    serializer_class = DeviceOutput

    @extend_schema(operation_id="devices_reject", request=ReasonInput, responses=DeviceOutput)
    def post(self, request: Request, device_id: str) -> Response:
        """Turn a pending device away; it cannot knock again under this id."""
        device = self.device(device_id)
        wanted = ReasonInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        services.device_reject(
            device=device,
            actor=self.principal,
            now=clock.now(),
            reason=wanted.validated_data["reason"],
        )
        return Response(DeviceOutput(self.device(device_id)).data)

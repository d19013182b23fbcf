"""What a device asks and says of its updates."""

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView, visible_or_404
from accounts.policy import Action
from common import clock
from devices.models import Device
from gateway.native.views import DeviceView
from releases.api.update_serializers import OfferOutput, UpdateReportInput, UpdateTaken
from releases.models import DeviceUpdate
from releases.services.offers import update_offer
from releases.services.results import update_report


class DeviceOffer(DeviceView):
    """What a device should install now."""

    actions = {"GET": Action.UPDATE_FETCH}
    serializer_class = OfferOutput

    @extend_schema(
        operation_id="devices_update_fetch",
        responses={
            200: OfferOutput,
            204: OpenApiResponse(description="Nothing to install at the moment."),
        },
    )
    def get(self, _request: Request, device_id: str) -> Response:
        """Return the device's update, the same one again until it has ended.

        409 `update_refused`: the device holds an `update` command that cannot be carried out.
        """
        offer = update_offer(device=self.device(device_id), now=clock.now())
        return Response(OfferOutput(offer).data) if offer else Response(status=204)


class UpdateResults(PortalView):
    """Where a device tells every step of an update, and how it ended."""

    actions = {"POST": Action.UPDATE_REPORT}
    serializer_class = UpdateTaken

    @extend_schema(
        operation_id="telemetry_update_results", request=UpdateReportInput, responses=UpdateTaken
    )
    def post(self, request: Request) -> Response:
        """Take a report. The same one twice is accepted; 409 `update_state` when it does not fit.

        Success is a claim: later heartbeats have to prove it. Without `update_id` it belongs to
        the open update of that commit or version, or is one the device did on its own.
        """
        wanted = UpdateReportInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        update_id = wanted.validated_data.get("update_id")
        update = None
        if update_id is not None:
            update = visible_or_404(DeviceUpdate.objects.all(), self.principal, pk=update_id)
        rows = Device.objects.select_related("state", "organization")
        taken = update_report(
            device=visible_or_404(rows, self.principal, pk=self.principal.id),
            update=update,
            report=wanted.report(),
            actor=self.principal,
            now=clock.now(),
        )
        body = {"update_id": taken.pk, "status": taken.status, "accepted": True}
        return Response(UpdateTaken(body).data)

"""Why a device gets a release or waits: the same answer for the device and for people."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.policy import Action
from common import clock
from gateway.native.views import DeviceView
from releases.api.finding import release_or_404
from releases.api.gate_serializers import EligibilityOutput
from releases.services.eligibility import eligibility_of


class Eligibility(DeviceView):
    """Whether a device gets a release."""

    actions = {"GET": Action.ELIGIBILITY_READ}
    serializer_class = EligibilityOutput

    @extend_schema(operation_id="releases_eligibility", responses=EligibilityOutput)
    def get(self, _request: Request, version: str, device_id: str) -> Response:
        """Return every gate between the device and the release, and when it can change."""
        device = self.device(device_id)
        release = release_or_404(self.principal, version)
        answer = eligibility_of(device=device, release=release, now=clock.now())
        return Response(EligibilityOutput(answer).data)

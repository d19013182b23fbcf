"""How a device introduces itself."""

from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.decorators import method_decorator
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.address import client_address
from accounts.authentication import ApiKeyAuthentication, JWTAuthentication
from accounts.permissions import principal_of
from accounts.policy import Action
from accounts.services.limiter import pass_or_refuse
from accounts.services.sign_in import HOUR
from common import clock, limits
from devices import selectors
from devices.api.enrollment_serializers import RegisterInput, RegisterOutput
from devices.authentication import device_of_token
from devices.models import Device
from devices.services import enrollment
from devices.services.registry import device_report_identity
from devices.services.tokens import digest_from_hex

CREDENTIALS = ("enrollment_token", "organization", "token_sha256")
ANONYMOUS_OR_KNOWN: Any = [{}, {"apiKey": []}, {"jwt": []}, {"deviceToken": []}]


# Attempts of strangers must stay counted, so no transaction may span the view.
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class Register(APIView):
    """The door for new devices."""

    authentication_classes = [ApiKeyAuthentication, JWTAuthentication]
    permission_classes: list[Any] = []

    @extend_schema(
        operation_id="devices_register",
        request=RegisterInput,
        responses={
            200: OpenApiResponse(RegisterOutput, description="Known and proven: described anew."),
            201: OpenApiResponse(RegisterOutput, description="Enrolled."),
        },
        auth=ANONYMOUS_OR_KNOWN,
    )
    def post(self, request: Request) -> Response:
        """Enrol a device, or let a known one describe itself anew.

        An id that exists already answers 409 `device_exists` unless the caller proves to be that
        device (`X-Device-Token`) or holds the right (API key, person).
        """
        wanted = RegisterInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        given = dict(wanted.validated_data)
        credentials = {name: given.pop(name, None) for name in CREDENTIALS}
        known = self._proven(request, given["device_id"])
        if known is not None:
            device = device_report_identity(device=known, fields=given, now=clock.now())
            return _answer(device, token=None, status=200)
        device, token = self._enroll(request, given, credentials)
        return _answer(device, token=token, status=201)

    def _proven(self, request: Request, device_id: str) -> Device | None:
        """Return the known device the caller may speak for, if there is one."""
        token = device_of_token(request.headers.get("X-Device-Token", ""))
        if token is not None and token.device.device_id == device_id:
            return token.device
        principal = principal_of(request)
        if principal is None:
            return None
        principal.require(Action.DEVICE_REGISTER)
        visible = Device.objects.visible_to(principal).present()
        return visible.select_related("organization").filter(device_id=device_id).first()

    def _enroll(
        self, request: Request, fields: dict[str, Any], credentials: dict[str, Any]
    ) -> tuple[Device, str | None]:
        digest = credentials["token_sha256"]
        sha256 = digest_from_hex(digest) if digest else None
        now = clock.now()
        principal = principal_of(request)
        if principal is not None:
            return enrollment.device_enroll_by_principal(
                organization=principal.acting_organization(),
                fields=fields,
                sha256=sha256,
                actor=principal,
                now=now,
            )
        if credentials["enrollment_token"]:
            return enrollment.device_enroll_with_token(
                secret=credentials["enrollment_token"], fields=fields, sha256=sha256, now=now
            )
        pass_or_refuse(
            key=f"register:{client_address(request._request)}",
            limit=limits.REGISTER_PER_ADDRESS_HOUR,
            per=HOUR,
            message="Too many devices introduced themselves from here.",
        )
        return enrollment.device_enroll_itself(
            slug=credentials["organization"], fields=fields, sha256=sha256, now=now
        )


def _answer(device: Device, *, token: str | None, status: int) -> Response:
    body = {
        "device_id": device.device_id,
        "token": token,
        "fleet_url": settings.FLEET_URL,
        "lifecycle": device.lifecycle,
        "config": selectors.device_config(device, now=clock.now()),
    }
    return Response(RegisterOutput(body).data, status=status)

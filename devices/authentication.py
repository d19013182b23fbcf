"""How a device proves itself on the paths Django serves."""

from typing import Any

from django.db.models import Q
from django.db.models.functions import Now
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.policy import DEVICE
from accounts.principals import Principal
from common import clock
from common.ids import secret_digest
from devices.models import Device, DeviceToken
from devices.services.tokens import token_confirm


def device_principal(device: Device) -> Principal:
    """Return a device acting for itself."""
    return Principal(
        kind="device",
        id=device.pk,
        label=device.device_id,
        organization=device.organization,
        role=DEVICE,
    )


def device_of_token(secret: str) -> DeviceToken | None:
    """Return the live token with this secret, its device and organisation beside it."""
    if not secret:
        return None
    return (
        DeviceToken.objects.filter(sha256=secret_digest(secret), revoked_at=None)
        .filter(Q(expires_at=None) | Q(expires_at__gt=Now()), organization__is_active=True)
        .exclude(device__lifecycle=Device.Lifecycle.RETIRED)
        .select_related("device__organization")
        .first()
    )


class DeviceTokenAuthentication(BaseAuthentication):
    """`X-Device-Token`: 64 hex characters, looked up by their SHA-256."""

    def authenticate(self, request: Request) -> tuple[Principal, DeviceToken] | None:
        """Return the device's principal, or refuse with 401."""
        secret = request.headers.get("X-Device-Token")
        if not secret:
            return None
        token = device_of_token(secret)
        if token is None:
            raise AuthenticationFailed(
                "The device token is unknown or no longer valid. Enrol the device again."
            )
        if token.confirmed_at is None:
            token_confirm(token=token, now=clock.now())
        return device_principal(token.device), token

    def authenticate_header(self, _request: Request) -> str:
        """Make an unknown caller's answer 401."""
        return "Bearer"


class DeviceTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = DeviceTokenAuthentication
    name = "deviceToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Describe the scheme."""
        return {"type": "apiKey", "in": "header", "name": "X-Device-Token"}

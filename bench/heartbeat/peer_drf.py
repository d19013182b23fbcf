"""The idiom: a DRF view, serializers and the ORM, on the portal's own tables.

One transaction per request. Run with ROOT_URLCONF set to this module:
`gunicorn --worker-class gthread bench.heartbeat.peer_drf:application`.
"""

from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import transaction
from django.urls import path
from django.utils import timezone

settings.ROOT_URLCONF = __name__
# One that gives answers their length, one an installed app insists on; nothing else of the portal's
# stands in its way.
settings.MIDDLEWARE = [
    "django.middleware.common.CommonMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
application = get_wsgi_application()

from rest_framework import serializers  # noqa: E402 - Django has to be set up first
from rest_framework.exceptions import AuthenticationFailed, NotFound  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

from commands.models import Command  # noqa: E402
from common.ids import secret_digest  # noqa: E402
from devices.models import DeviceState, DeviceToken, Heartbeat  # noqa: E402


class MetricsInput(serializers.Serializer):
    """The metrics of a heartbeat."""

    cpu_percent = serializers.FloatField(required=False)
    mem_percent = serializers.FloatField(required=False)
    disk_percent = serializers.FloatField(required=False)
    disk_free_gb = serializers.FloatField(required=False)
    temperature_c = serializers.FloatField(required=False)


class HeartbeatInput(serializers.Serializer):
    """A heartbeat as it is sent."""

    ts = serializers.DateTimeField(required=False)
    boot_id = serializers.CharField(max_length=64, required=False, default="")
    sequence = serializers.IntegerField(required=False)
    version = serializers.CharField(max_length=64, required=False, default="")
    uptime_seconds = serializers.IntegerField(required=False)
    metrics = MetricsInput(required=False)
    status = serializers.DictField(required=False)
    errors = serializers.ListField(child=serializers.CharField(), required=False)


class SendHeartbeat(APIView):
    """Stores a heartbeat and answers after the commit."""

    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []

    def post(self, request: Request, device_id: str) -> Response:
        """Look up the token, write state and history, count what waits."""
        digest = secret_digest(request.headers.get("X-Device-Token", ""))
        token = (
            DeviceToken.objects.select_related("device__organization")
            .filter(sha256=digest, revoked_at=None)
            .first()
        )
        if token is None:
            raise AuthenticationFailed
        if token.device.device_id != device_id:
            raise NotFound
        wanted = HeartbeatInput(data=request.data)
        wanted.is_valid(raise_exception=True)
        with transaction.atomic():
            self._store(token, wanted.validated_data)
        pending = Command.objects.filter(device=token.device, status="queued").count()
        return Response(
            {
                "ack": True,
                "commands_pending": pending,
                "target_version": token.device.target_version,
                "server_time": timezone.now(),
                "next_heartbeat_s": 60.0,
            }
        )

    def _store(self, token: DeviceToken, sent: dict[str, Any]) -> None:
        now = timezone.now()
        metrics = sent.get("metrics", {})
        state = DeviceState.objects.select_for_update().get(device=token.device)
        state.last_seen = now
        state.health = "degraded" if sent.get("errors") else "healthy"
        state.version = sent["version"]
        state.boot_id = sent["boot_id"]
        state.sequence = sent.get("sequence")
        for name, value in metrics.items():
            setattr(state, name, value)
        state.save()
        Heartbeat.objects.create(
            device=token.device,
            organization=token.organization,
            at=sent.get("ts") or now,
            received_at=now,
            boot_id=sent["boot_id"],
            sequence=sent.get("sequence") or 0,
            health=state.health,
            version=sent["version"],
            uptime_seconds=sent.get("uptime_seconds"),
            status=sent.get("status"),
            errors=sent.get("errors"),
            **metrics,
        )


urlpatterns = [path("api/v1/devices/<str:device_id>/heartbeat", SendHeartbeat.as_view())]

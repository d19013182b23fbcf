"""What the portal says about itself: to load balancers, to Prometheus, to people."""

import platform
import sys
from importlib.metadata import version
from typing import Any

import django
import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, transaction
from django.http import HttpRequest, JsonResponse
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import PortalView
from accounts.policy import Action
from commands import transports
from commands.models import ENDED
from commands.selectors import recent_failures, status_counts
from common import clock
from devices.selectors import health_counts
from devices.services.upkeep import pulse_age

log = structlog.get_logger(__name__)

VERSION = "0.1.0"
PULSE_MAX_S = 30.0


def _database_is_there() -> bool:
    try:
        clock.now()
    except DatabaseError:
        return False
    return True


def _broker_is_there() -> bool:
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


def _pulse_is_fresh(name: str) -> bool:
    age = pulse_age(name=name, now=clock.now())
    return age is not None and age < PULSE_MAX_S


def readiness() -> dict[str, bool]:
    """Return what the portal needs to do its work, each there or not."""
    database = _database_is_there()
    return {
        "database": database,
        "broker": _broker_is_there(),
        "worker": database and _pulse_is_fresh("worker"),
        "beat": database and _pulse_is_fresh("beat"),
    }


@transaction.non_atomic_requests
def health(_request: HttpRequest) -> JsonResponse:
    """Say that this process answers; it asks nobody else."""
    return JsonResponse({"status": "ok"})


@transaction.non_atomic_requests
def ready(_request: HttpRequest) -> JsonResponse:
    """Say whether the whole portal can work: 200, or 503 with what is missing."""
    checks = readiness()
    fine = all(checks.values())
    body = {"status": "ready" if fine else "not ready", "checks": checks}
    return JsonResponse(
        body, status=200 if fine else 503, headers={} if fine else {"Retry-After": "5"}
    )


class Status(PortalView):
    """The portal at a glance."""

    actions = {"GET": Action.SYSTEM_READ}
    serializer_class = serializers.Serializer

    @extend_schema(
        operation_id="service_status",
        responses=inline_serializer(
            "ServiceStatus",
            {
                "service": serializers.CharField(),
                "version": serializers.CharField(),
                "status": serializers.CharField(),
                "checks": serializers.DictField(child=serializers.BooleanField()),
                "protocols": serializers.ListField(child=serializers.CharField()),
                "server_time": serializers.DateTimeField(),
                "kafka_connected": serializers.BooleanField(),
                "commands_processed": serializers.IntegerField(),
                "last_error": serializers.CharField(allow_null=True),
            },
        ),
    )
    def get(self, _request: Request) -> Response:
        """Return version, readiness of each part, and the command transports at hand.

        `commands_processed` counts the organisation's commands that have ended; `last_error` is
        what the last one that ended badly in the past week said.
        """
        checks = readiness()
        now = clock.now()
        counts = status_counts(principal=self.principal)
        failures = recent_failures(principal=self.principal, now=now, limit=1)
        return Response(
            {
                "service": "fleet-portal",
                "version": VERSION,
                "status": "operational" if all(checks.values()) else "degraded",
                "checks": checks,
                "protocols": transports.available(),
                "server_time": now,
                # No transport over Kafka is installed.
                "kafka_connected": False,
                "commands_processed": sum(counts[status] for status in ENDED),
                "last_error": failures[0].error if failures else None,
            }
        )


class Metrics(PortalView):
    """Counts for dashboards that do not speak Prometheus."""

    actions = {"GET": Action.SYSTEM_READ}
    serializer_class = serializers.Serializer

    @extend_schema(
        operation_id="service_metrics",
        responses=inline_serializer(
            "ServiceMetrics",
            {
                "devices": serializers.DictField(child=serializers.IntegerField()),
                "commands": serializers.DictField(child=serializers.IntegerField()),
            },
        ),
    )
    def get(self, _request: Request) -> Response:
        """Return the organisation's devices by health and commands by status."""
        return Response(
            {
                "devices": health_counts(principal=self.principal),
                "commands": status_counts(principal=self.principal),
            }
        )


class SystemInfo(PortalView):
    """What this process runs on."""

    actions = {"GET": Action.SYSTEM_READ}
    serializer_class = serializers.Serializer

    @extend_schema(
        operation_id="service_system_info",
        responses=inline_serializer(
            "SystemInfo",
            {
                "portal": serializers.CharField(),
                "python": serializers.CharField(),
                "django": serializers.CharField(),
                "celery": serializers.CharField(),
                "platform": serializers.CharField(),
                "machine": serializers.CharField(),
            },
        ),
    )
    def get(self, _request: Request) -> Response:
        """Return versions and platform; nothing that helps an intruder further."""
        body: dict[str, Any] = {
            "portal": VERSION,
            "python": sys.version.split()[0],
            "django": django.get_version(),
            "celery": version("celery"),
            "platform": platform.system(),
            "machine": platform.machine(),
        }
        return Response(body)

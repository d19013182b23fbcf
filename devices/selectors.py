"""Reads over devices that join several models."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count

from accounts.principals import Principal
from common import signing
from common.db import fetch_all
from devices.models import Device, DeviceState

METRICS = [
    "cpu_percent",
    "mem_percent",
    "disk_percent",
    "disk_free_gb",
    "temperature_c",
    "containers_running",
    "containers_failed",
    "uptime_seconds",
]


def device_config(device: Device, *, now: datetime) -> dict[str, Any]:
    """Return what an agent needs to know about its device; intervals in seconds."""
    organization = device.organization
    return {
        "device_id": device.device_id,
        "organization": organization.slug,
        "name": device.name,
        "lifecycle": device.lifecycle,
        "role": device.role,
        "branch": device.branch,
        "segment": device.segment,
        "heartbeat_interval_s": device.heartbeat_interval_s or organization.heartbeat_interval_s,
        "command_poll_interval_s": device.command_poll_interval_s
        or organization.command_poll_interval_s,
        "update_interval": device.update_interval_s,
        "update_interval_s": device.update_interval_s,
        "event_stream_url": f"{settings.FLEET_URL}/api/v1/devices/{device.device_id}/stream",
        "version_lock": device.locked_to(now) or None,
        "target_version": device.target_version or None,
        "maintenance_mode": device.maintenance_mode,
        "update_enabled": device.update_enabled,
        "safe_mode": device.safe_mode,
        "metadata": device.metadata,
        "signing_keys": signing.public_keys(),
    }


def metric_buckets(
    *, device: Device, metric: str, start: datetime, end: datetime, step: timedelta
) -> list[dict[str, Any]]:
    """Return count, average, least, most and 95th percentile of a metric per `step`.

    `metric` is one of METRICS or a free metric the device sent. Buckets without a value are
    left out; they begin at multiples of `step` since the epoch.
    """
    # The name is one of METRICS, a constant; a free metric's name goes in as a parameter. The
    # database may compute a value before it filters, so the text of a free one is guarded here.
    value = f"{metric}::double precision"
    if metric not in METRICS:
        value = """CASE WHEN jsonb_typeof(metrics->%(metric)s) = 'number'
                        THEN (metrics->>%(metric)s)::double precision END"""
    rows = fetch_all(
        f"""
        SELECT date_bin(%(step)s, at, 'epoch') AS bucket, count(value), avg(value), min(value),
               max(value), percentile_cont(0.95) WITHIN GROUP (ORDER BY value)
          FROM (SELECT at, {value} AS value FROM devices_heartbeat
                 WHERE device_id = %(device)s AND at >= %(start)s AND at < %(end)s) h
         WHERE value IS NOT NULL
         GROUP BY bucket ORDER BY bucket
        """,  # noqa: S608 - see above
        {"step": step, "metric": metric, "device": device.pk, "start": start, "end": end},
    )
    names = ["at", "count", "avg", "min", "max", "p95"]
    return [dict(zip(names, row, strict=True)) for row in rows]


def health_counts(*, principal: Principal) -> dict[str, int]:
    """Return the number of present devices by health; every health is in it."""
    visible = Device.objects.visible_to(principal).present()
    counted = (
        DeviceState.objects.filter(device__in=visible)
        .values_list("health")
        .annotate(count=Count("pk"))
    )
    return {**dict.fromkeys(Device.Health.values, 0), **dict(counted.order_by())}


def installation_health_counts() -> dict[str, int]:
    """Return the number of present devices by health over all organisations, for /metrics."""
    counted = (
        DeviceState.objects.exclude(device__lifecycle=Device.Lifecycle.RETIRED)
        .values_list("health")
        .annotate(count=Count("pk"))
    )
    return {**dict.fromkeys(Device.Health.values, 0), **dict(counted.order_by())}

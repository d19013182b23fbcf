"""Devices with updates, and what they say, for tests."""

from datetime import datetime, timedelta
from typing import Any

from rest_framework.test import APIClient

from common import clock
from devices.models import Device, DeviceState, Heartbeat
from devices.tests.factories import DeviceFactory, token_of
from releases.models import DeviceUpdate, Release, Rollout
from releases.tests.factories import DeviceUpdateFactory, RolloutFactory, RolloutTargetFactory
from releases.tests.trust import release_of

__all__ = [
    "RESULTS",
    "api_as",
    "device_of",
    "heard",
    "release_of",
    "rollout_of",
    "said",
    "seconds",
    "updating",
]

RESULTS = "/api/v1/telemetry/update-results"


def rollout_of(release: Release, **fields: Any) -> Rollout:
    """Return a running rollout of the release."""
    fields = {"status": "running", "started_at": clock.now(), **fields}
    rollout: Rollout = RolloutFactory(release=release, **fields)
    return rollout


def updating(device: Device, rollout: Rollout, **fields: Any) -> DeviceUpdate:
    """Return an update of the device by the rollout, as its target's latest one."""
    release = rollout.release
    update: DeviceUpdate = DeviceUpdateFactory(
        device=device,
        release=release,
        rollout=rollout,
        artifact=release.artifacts.first(),
        segment=device.segment,
        **{"verify_minutes": rollout.verify_minutes, **fields},
    )
    RolloutTargetFactory(rollout=rollout, device=device, update=update)
    Device.objects.filter(pk=device.pk).update(target_version=release.version)
    return update


def device_of(organization: Any, **fields: Any) -> Device:
    """Return a device that sends a heartbeat every 30 s."""
    device: Device = DeviceFactory(organization=organization, heartbeat_interval_s=30, **fields)
    return device


def api_as(device: Device) -> APIClient:
    """Return a client that proves itself with the device's token."""
    client = APIClient(headers={"X-Device-Token": token_of(device)})
    client.default_format = "json"
    return client


def said(client: APIClient, update: DeviceUpdate, status: str, **more: Any) -> Any:
    """Report on an update."""
    return client.post(RESULTS, {"update_id": update.pk, "status": status, **more})


def heard(device: Device, *, at: datetime, version: str, health: str = "healthy") -> None:
    """Let a heartbeat of the device be there, as the gateway would have written it."""
    state = DeviceState.objects.get(device=device)
    since = state.health_since if state.health == health else at
    DeviceState.objects.filter(device=device).update(
        last_seen=at, at=at, version=version, health=health, health_since=since
    )
    Heartbeat.objects.create(
        device=device,
        organization_id=device.organization_id,
        at=at,
        received_at=at,
        health=health,
        version=version,
    )


def seconds(amount: float) -> timedelta:
    return timedelta(seconds=amount)

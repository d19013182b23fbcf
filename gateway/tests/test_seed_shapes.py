"""The three shapes of heartbeats that fleets send, as they are printed in their documents."""

import pytest

from devices.models import DeviceState, Heartbeat
from devices.tests.factories import token_of

FLAT = {
    "status": "degraded",
    "cpu_percent": 15.2,
    "memory_percent": 45.0,
    "disk_percent": 70.5,
    "temperature": 52.0,
    "containers_running": 4,
    "containers_failed": 1,
    "current_commit_hash": "abc123",
}
NESTED = {
    "ts": "2025-12-28T10:00:00Z",
    "version": "1.0.0",
    "uptime_seconds": 86400,
    "metrics": {
        "cpu_percent": 15.2,
        "mem_percent": 45.0,
        "disk_free_gb": 2.8,
        "temperature_c": 52.0,
        "fan_rpm": 1200,
    },
    "status": {
        "recording_active": False,
        "mixer_active": True,
        "active_inputs": ["cam1", "cam2"],
        "degradation_level": 0,
    },
    "errors": [],
}
STATUS = {
    "role": "camera-dual",
    "commit": "0f1e2d3c",
    "last_convergence": "2026-11-20T10:00:00Z",
    "health": "failed",
}


@pytest.fixture
def send(gateway, device):
    secret = token_of(device)

    def post(body, path=f"/api/v1/devices/{device.device_id}/heartbeat"):
        return gateway.post(path, body, {"X-Device-Token": secret})

    return post


@pytest.mark.parametrize("body", [FLAT, NESTED, STATUS, {}])
def test_every_shape_gets_the_same_answer(send, body):
    answer = send(body)

    assert answer.status == 200
    assert list(answer.json()) == [
        "ack",
        "commands_pending",
        "target_version",
        "server_time",
        "next_heartbeat_s",
    ]
    assert 54 <= answer.json()["next_heartbeat_s"] <= 66


def test_the_flat_shape_is_stored_canonically(send):
    send(FLAT)

    state = DeviceState.objects.get()
    assert (state.health, state.cpu_percent, state.mem_percent) == ("degraded", 15.2, 45.0)
    assert (state.disk_percent, state.temperature_c, state.commit) == (70.5, 52.0, "abc123")
    beat = Heartbeat.objects.get()
    assert (beat.containers_running, beat.containers_failed) == (4, 1)


def test_the_nested_shape_is_stored_canonically_with_its_free_parts(send):
    send(NESTED)

    state = DeviceState.objects.get()
    assert (state.health, state.version, state.uptime_seconds) == ("healthy", "1.0.0", 86400)
    assert state.metrics == {"fan_rpm": 1200}
    assert state.status["active_inputs"] == ["cam1", "cam2"]
    assert Heartbeat.objects.get().disk_free_gb == 2.8


def test_the_status_shape_is_taken_on_its_own_path_too(send):
    answer = send(STATUS, "/api/v1/telemetry/status")

    assert answer.status == 200
    state = DeviceState.objects.get()
    assert (state.health, state.commit) == ("failed", "0f1e2d3c")
    assert state.last_convergence is not None


@pytest.mark.parametrize(
    ("body", "health"),
    [
        ({}, "healthy"),
        ({"errors": ["disk is failing"]}, "degraded"),
        ({"status": {"degradation_level": 2}}, "degraded"),
        ({"containers_failed": 1}, "degraded"),
        ({"health": "healthy", "errors": ["old news"]}, "healthy"),
    ],
)
def test_health_is_what_the_device_says_or_what_follows_from_it(send, body, health):
    send(body)

    assert DeviceState.objects.get().health == health

"""What devices send, and the one form it becomes."""

import json
from typing import Any

import pytest

from common import limits
from gateway.heartbeat_shapes import Refused, Unreadable, read_beat, read_json
from gateway.statements import ROW

NAMES = ROW[ROW.index("ts") :]


def canonical(**sent: Any) -> dict[str, Any]:
    beat, _ = read_beat(read_json(json.dumps(sent).encode()))
    return dict(zip(NAMES, beat, strict=True))


def test_the_flat_shape_is_read():
    found = canonical(
        status="degraded",
        cpu_percent=12.5,
        memory_percent=40,
        disk_percent=71.0,
        temperature=55.5,
        containers_running=4,
        containers_failed=1,
    )

    assert found["health"] == "degraded"
    assert (found["cpu_percent"], found["mem_percent"], found["disk_percent"]) == (12.5, 40.0, 71.0)
    assert found["temperature_c"] == 55.5
    assert (found["containers_running"], found["containers_failed"]) == (4, 1)


def test_the_nested_shape_is_read():
    found = canonical(
        ts="2000-01-01T00:00:01Z",
        version="1.0.0",
        uptime_seconds=86_400,
        metrics={"cpu_percent": 15.2, "mem_percent": 45.0, "disk_free_gb": 2.8, "load_1m": 0.5},
        status={"recording_active": False, "degradation_level": 0},
        errors=[],
    )

    assert found["ts"] == 1_000_000
    assert (found["version"], found["uptime_seconds"], found["health"]) == (
        "1.0.0",
        86_400,
        "healthy",
    )
    assert (found["cpu_percent"], found["mem_percent"], found["disk_free_gb"]) == (15.2, 45.0, 2.8)
    assert json.loads(found["metrics"]) == {"load_1m": 0.5}
    assert json.loads(found["status"]) == {"recording_active": False, "degradation_level": 0}
    assert found["errors"] is None


def test_the_status_shape_is_read():
    found = canonical(
        role="kiosk", commit="3f2a", last_convergence="2000-01-01T00:00:02Z", health="failed"
    )

    assert (found["commit"], found["last_convergence"], found["health"]) == (
        "3f2a",
        2_000_000,
        "failed",
    )


@pytest.mark.parametrize(
    ("sent", "column", "value"),
    [
        ({"timestamp": "2000-01-01T00:00:01+00:00"}, "ts", 1_000_000),
        ({"ts": "2000-01-01T00:00:01"}, "ts", 1_000_000),
        ({"seq": 7}, "sequence", 7),
        ({"commit_hash": "ab"}, "commit", "ab"),
        ({"current_commit_hash": "cd"}, "commit", "cd"),
        ({"metrics": {"memory_percent": 3}}, "mem_percent", 3.0),
        ({"metrics": {"temperature": 3}}, "temperature_c", 3.0),
        ({"metrics": {"containers_failed": 2}}, "containers_failed", 2),
        ({"uptime_seconds": 1.9}, "uptime_seconds", 1),
        ({"sequence": 5.0, "metrics": {"containers_failed": 2.0}}, "sequence", 5),
        ({"metrics": {"containers_failed": 2.0}}, "containers_failed", 2),
    ],
)
def test_other_names_mean_the_same(sent: dict[str, Any], column: str, value: Any):
    assert canonical(**sent)[column] == value


@pytest.mark.parametrize(
    ("sent", "health"),
    [
        ({}, "healthy"),
        ({"errors": ["disk"]}, "degraded"),
        ({"containers_failed": 1}, "degraded"),
        ({"metrics": {"containers_failed": 1}}, "degraded"),
        ({"status": {"degradation_level": 2}}, "degraded"),
        ({"status": {"degradation_level": "x"}}, "healthy"),
        ({"errors": ["disk"], "health": "healthy"}, "healthy"),
        ({"errors": ["disk"], "status": "failed"}, "failed"),
    ],
)
def test_health_is_what_is_said_or_what_follows(sent: dict[str, Any], health: str):
    assert canonical(**sent)["health"] == health


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"a":1}x',
        b'{"a":NaN}',
        b'{"a":1e999}',
        b'{"a":9223372036854775808}',
        b'{"a":[{"b":-9223372036854775809}]}',
        b'{"a":"\\u0000"}',
        b'{"a":{"\\u0000":1}}',
        b'{"a":["\\u0000"]}',
        b'{"a":"\x00"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00 and more text"}',
        b'{"a":"\\ud800 and more text"}',
        b'{"a":"\xff"}',
        b'{"a":1,"a":2}',
        b'{"a" : 1, "a"\n:2}',
        b'{"m":{"a":1,"a"  :2}}',
        b"[" * 60_000,
        b'{"a":' * 60_000,
        b"[" * (limits.JSON_DEPTH + 2) + b"]" * (limits.JSON_DEPTH + 2),
        json.dumps({str(n): n for n in range(limits.JSON_KEYS + 1)}).encode(),
    ],
)
def test_json_that_nothing_can_store_is_unreadable(raw: bytes):
    with pytest.raises(Unreadable):
        read_json(raw)


@pytest.mark.parametrize(
    "value",
    [
        {"a": 'text with ": in it', "b": '\\": '},
        {"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 1}]},
        {"text": "\\u0000 is six characters"},
        {"emoji": "\U0001f600", "line": "a\nb\tc"},
        {"least": -(2**63), "most": 2**63 - 1},
    ],
)
def test_unusual_json_is_read(value: Any):
    assert read_json(json.dumps(value).encode()) == value
    assert read_json(json.dumps(value, indent=2, separators=(" ,", " : ")).encode()) == value


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"ts": "yesterday"}, "ts"),
        ({"ts": "0001-01-01T00:00:00+14:00"}, "ts"),
        ({"ts": 5}, "ts"),
        ({"last_convergence": "9999-12-31T23:59:59-14:00"}, "last_convergence"),
        ({"boot_id": "x" * 65}, "boot_id"),
        ({"sequence": -1}, "sequence"),
        ({"sequence": True}, "sequence"),
        ({"sequence": 1.5}, "sequence"),
        ({"cpu_percent": "12"}, "cpu_percent"),
        ({"cpu_percent": 1e6}, "cpu_percent"),
        ({"metrics": {"cpu_percent": -1}}, "metrics.cpu_percent"),
        ({"metrics": {"load": "high"}}, "metrics.load"),
        ({"metrics": {"load": 2**63 - 1}}, "metrics.load"),
        ({"metrics": {"on": True}}, "metrics.on"),
        ({"metrics": {"": 1}}, "metrics"),
        ({"metrics": {"x" * 65: 1}}, "metrics"),
        ({"metrics": [1]}, "metrics"),
        ({"containers_running": 2**31}, "containers_running"),
        ({"health": "offline"}, "health"),
        ({"status": "on fire"}, "status"),
        ({"status": []}, "status"),
        ({"errors": "disk"}, "errors"),
        ({"errors": ["x"] * 51}, "errors"),
        ({"errors": ["x" * 4_097]}, "errors[0]"),
    ],
)
def test_a_value_that_is_not_accepted_is_named(sent: dict[str, Any], field: str):
    with pytest.raises(Refused) as refusal:
        canonical(**sent)

    assert refusal.value.field == field


@pytest.mark.parametrize("value", [None, [], "text", 5, True])
def test_a_body_that_is_no_object_is_refused(value: Any):
    with pytest.raises(Refused):
        read_beat(value)

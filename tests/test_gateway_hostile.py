"""Whatever a device sends to the gateway: never a 5xx, and a refusal says what was wrong."""

import time
from urllib.parse import urlencode

import pytest

from tests.gateway_client import GatewayClient
from tests.gateway_routes import GATEWAY, GatewayOperation
from tests.hostile import (
    CONTENT_TYPES,
    QUERIES,
    UNREAD,
    UNSTORABLE,
    VALUES,
    WHOLE,
    faults,
    with_value,
)
from tests.identities import World

pytestmark = pytest.mark.xdist_group("gateway")


@pytest.mark.parametrize("operation", GATEWAY, ids=lambda one: one.name)
def test_no_body_breaks_the_gateway(
    kept_world: World, gateway: GatewayClient, operation: GatewayOperation
):
    names = kept_world.acme.names
    headers = kept_world.identities["device"].headers
    bodies = {**WHOLE, **UNREAD, **_gateway_members(operation, names)}

    wrong = []
    for label, body in bodies.items():
        begun = time.monotonic()
        answer = gateway.send(operation.method, operation.url(names), body, headers)
        took = time.monotonic() - begun
        found = faults(answer.status, answer.content_type, answer.body, took)
        wrong += [f"{label}: {fault}" for fault in found]
    for content_type in CONTENT_TYPES:
        answer = gateway.send(
            operation.method,
            operation.url(names),
            b'{"a": 1}',
            {**headers, "content-type": content_type},
        )
        wrong += faults(answer.status, answer.content_type, answer.body, 0)

    assert wrong == []


MEMBERS = [
    "device_id", "ts", "timestamp", "boot_id", "sequence", "seq", "version", "agent_version",
    "commit", "last_convergence", "uptime_seconds", "health", "status", "metrics", "errors",
    "cpu_percent", "disk_free_gb", "temperature_c", "containers_running", "role", "anything",
]  # fmt: skip


def _gateway_members(operation: GatewayOperation, names: dict[str, str]) -> dict[str, bytes]:
    body = operation.body(names)
    if body is None:
        return {}
    found = {}
    inner = body["heartbeats"][0] if "heartbeats" in body else body
    for name in MEMBERS:
        for label, text in {**VALUES, **UNSTORABLE}.items():
            made = with_value(inner, name, text)
            found[f"{name} = {label}"] = (
                b'{"heartbeats": [' + made + b"]}" if "heartbeats" in body else made
            )
    for name in ("cpu_percent", "load_1m"):
        for label, text in {**VALUES, **UNSTORABLE}.items():
            metrics = b'{"metrics": {"' + name.encode() + b'": ' + text + b"}}"
            if "heartbeats" not in body:
                found[f"metrics.{name} = {label}"] = metrics
    return found


def test_no_path_or_query_breaks_the_gateway(kept_world: World, gateway: GatewayClient):
    headers = kept_world.identities["device"].headers
    wrong = []

    for value in ["a\x00b", "ü", "..", "x" * 5_000, "", "a/b", "%00"]:
        for end in ("heartbeat", "commands/claim"):
            answer = gateway.post(f"/api/v1/devices/{value}/{end}", {"version": "1"}, headers)
            wrong += faults(answer.status, answer.content_type, answer.body, 0)
    claim = f"/api/v1/devices/{kept_world.acme.device.device_id}/commands/claim"
    for value in QUERIES:
        for name in ("max", "wait"):
            if value != "0":
                query = urlencode({name: value}, errors="surrogateescape")
                answer = gateway.post(f"{claim}?{query}", None, headers)
                wrong += faults(answer.status, answer.content_type, answer.body, 0)

    assert wrong == []

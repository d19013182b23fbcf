"""Which paths are the gateway's, and how it speaks HTTP."""

import asyncio
from typing import Any

import pytest

from gateway.application import Gateway
from gateway.tests.door import Call, stand_in_for_django

OWN = [
    "/api/v1/devices/kiosk-1/heartbeat",
    "/api/v1/devices/kiosk-1/commands/claim",
    "/api/v1/telemetry/status",
    "/api/v1/telemetry/batch",
]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/v1/devices",
        "/api/v1/devices/kiosk-1",
        "/api/v1/devices/kiosk-1/heartbeats",
        "/api/v1/devices/kiosk-1/commands",
        "/api/v1/telemetry/statuses",
        "/static/heartbeat",
    ],
)
def test_every_other_path_is_djangos(door, path):
    answer = door.call(Call(path, method="GET"))

    assert (answer.status, answer.body.decode()) == (299, path)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", OWN)
def test_the_gateways_paths_take_post_only(door, path, method):
    answer = door.call(Call(path, method=method))

    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_a_stream_takes_get_only(door, method):
    answer = door.call(Call("/api/v1/devices/kiosk-1/stream", method=method))

    assert (answer.status, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize("path", OWN)
def test_a_caller_without_a_credential_is_told_which_one(door, path):
    answer = door.post(path, {})

    assert answer.status == 401
    assert "X-Device-Token" in answer.json()["detail"]


def test_the_request_id_is_the_callers_or_a_new_one(door):
    given = door.post(OWN[0], {}, {"X-Request-ID": "trace-1"})
    made = [door.post(OWN[0], {}).headers["x-request-id"] for _ in range(2)]
    refused = door.post(OWN[0], {}, {"X-Request-ID": "a b\u00ff"})

    assert given.headers["x-request-id"] == "trace-1"
    assert made[0] != made[1]
    assert refused.headers["x-request-id"] not in {"", "a b\u00ff"}


def test_the_server_starts_and_stops_it(transactional_db):
    heard: list[str] = []

    async def serve() -> None:
        messages = ["lifespan.startup", "lifespan.shutdown"]

        async def receive() -> dict[str, Any]:
            return {"type": messages.pop(0)}

        async def send(message: dict[str, Any]) -> None:
            heard.append(message["type"])

        await Gateway(stand_in_for_django)({"type": "lifespan"}, receive, send)

    asyncio.run(serve())

    assert heard == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_what_is_counted_is_shown(door, beat):
    from prometheus_client import REGISTRY

    def stored() -> float:
        return REGISTRY.get_sample_value("fleet_gateway_heartbeats_total", {"status": "200"}) or 0

    before = stored()

    beat()

    assert stored() == before + 1
    assert REGISTRY.get_sample_value("fleet_gateway_statement_seconds_count")

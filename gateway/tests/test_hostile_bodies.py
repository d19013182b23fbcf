"""Whatever the body is: a problem document, in time, and the next heartbeat is stored."""

import json
import time

import pytest

from common import limits
from gateway.tests.door import Call

IN_TIME_S = 0.2
HOSTILE = {
    "nothing": (b"", 400),
    "not JSON": (b"cpu=5", 400),
    "not UTF-8": (b'{"version":"\xff\xfe"}', 400),
    "beyond 64 bits": (b'{"sequence":9223372036854775808}', 400),
    "negative count": (b'{"sequence":-1}', 422),
    "NUL in a text": (b'{"version":"a\\u0000b"}', 400),
    "NUL in a key": (b'{"metrics":{"a\\u0000":1}}', 400),
    "NUL in the errors": (b'{"errors":["\\u0000"]}', 400),
    "not a number": (b'{"cpu_percent":NaN}', 400),
    "infinite": (b'{"cpu_percent":1e999}', 400),
    "half a surrogate": (b'{"boot_id":"\\ud800"}', 400),
    "other half": (b'{"boot_id":"\\udc00"}', 400),
    "key twice": (b'{"version":"1","version":"2"}', 400),
    "deep": (b'{"status":' + b"[" * 30_000 + b"]" * 30_000 + b"}", 400),
    "deep and open": (b"[" * 60_000, 400),
    "many keys": (json.dumps({"metrics": {f"m{n}": n for n in range(5_000)}}).encode(), 413),
    "some more keys": (json.dumps({"metrics": {f"m{n}": n for n in range(257)}}).encode(), 400),
    "list": (b"[]", 422),
    "null": (b"null", 422),
    "wrong type": (b'{"metrics":{"cpu_percent":"high"}}', 422),
    "long text": (json.dumps({"version": "x" * 65}).encode(), 422),
    "ten megabytes": (b'{"errors":["' + b"x" * 10_000_000 + b'"]}', 413),
}


@pytest.mark.parametrize(("raw", "status"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_body_is_refused_in_time(door, beat, raw, status):
    assert beat().status == 200
    started = time.perf_counter()

    answer = beat(raw)

    assert time.perf_counter() - started < IN_TIME_S
    problem = answer.json()
    assert (answer.status, problem["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "detail", "code"} <= set(problem)
    assert beat().status == 200


def test_the_members_that_were_refused_are_named(beat):
    assert beat(cpu_percent="high").json()["errors"] == {
        "cpu_percent": ["Expected `float | null`, got `str`"]
    }


def test_a_body_without_an_announced_length_is_cut_off_at_the_cap(door, device):
    pieces = [b" " * 10_000] * 100
    call = Call(f"/api/v1/devices/{device.device_id}/heartbeat", pieces=pieces)
    call.headers["X-Device-Token"] = "0" * 64

    assert door.call(call).status == 413


def test_a_body_in_pieces_is_put_together(door, device, token):
    call = Call(
        f"/api/v1/devices/{device.device_id}/heartbeat",
        headers={"X-Device-Token": token},
        pieces=[b'{"cpu_', b'percent":', b"5}"],
    )

    assert door.call(call).status == 200


def test_an_announced_length_over_the_cap_is_refused_before_reading(door, device):
    call = Call(f"/api/v1/devices/{device.device_id}/heartbeat", pieces=[b""])
    call.headers |= {"X-Device-Token": "0" * 64, "Content-Length": "65537"}

    assert door.call(call).status == 413


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "json"])
def test_only_json_is_read(door, device, kind):
    url = f"/api/v1/devices/{device.device_id}/heartbeat"
    headers = {"X-Device-Token": "0" * 64, "Content-Type": kind}

    assert door.post(url, {}, headers).status == 415


def test_json_with_a_character_set_is_json(door, device, token):
    url = f"/api/v1/devices/{device.device_id}/heartbeat"
    headers = {"X-Device-Token": token, "Content-Type": "application/json; charset=utf-8"}

    assert door.post(url, {}, headers).status == 200


@pytest.mark.parametrize("device_id", ["a b", "", "a/b", "x" * 65, "ä", "-a"])
def test_an_id_no_device_can_have_is_not_found(door, device_id):
    answer = door.post(f"/api/v1/devices/{device_id}/heartbeat", {}, {"X-Device-Token": "0" * 64})

    assert answer.status == 404


@pytest.mark.parametrize("secret", ["", "\u00ff" * 64, "x" * 8_000, "fk_nobody"])
def test_a_credential_nobody_holds_is_refused(door, device, secret):
    for header in ("X-Device-Token", "X-API-Key"):
        answer = door.post(f"/api/v1/devices/{device.device_id}/heartbeat", {}, {header: secret})
        assert answer.status == 401
        assert "www-authenticate" in answer.headers


@pytest.mark.parametrize(
    "body", [None, [], {}, {"heartbeats": {}}, {"heartbeats": [{}] * (limits.HEARTBEAT_BATCH + 1)}]
)
def test_a_batch_that_is_no_list_of_heartbeats_is_refused(door, token, body):
    answer = door.post("/api/v1/telemetry/batch", body, {"X-Device-Token": token})

    assert answer.status == 422
    assert "heartbeats" in answer.json()["errors"]


def test_hostile_members_of_a_batch_do_not_harm_the_others(door, token):
    members = [{"cpu_percent": 1}, None, 5, [], {"sequence": -1}, {"ts": "x"}, {"cpu_percent": 2}]

    answer = door.post(
        "/api/v1/telemetry/batch", {"heartbeats": members}, {"X-Device-Token": token}
    )

    assert [result["status"] for result in answer.json()["results"]] == [
        "accepted",
        *["rejected"] * 5,
        "accepted",
    ]

"""Heartbeats on a real socket: the short way past ASGI says what ASGI says."""

import json
import time

import pytest

from accounts.tests.factories import api_key
from devices.models import Heartbeat
from gateway.tests.door import PATIENCE_S, Call
from gateway.waiting import Outcome
from tests.running_portal import eventually

BEAT = b'{"health":"healthy"}'
VARYING = {"date", "server", "x-request-id"}


@pytest.fixture
def url(device):
    return f"/api/v1/devices/{device.device_id}/heartbeat"


@pytest.fixture
def request_of(url, token):
    """Return the bytes of a heartbeat."""

    def make(body=BEAT, *, path=url, method="POST", version="1.1", length=True, **headers):
        sent = {"host": "portal", "x-device-token": token, "content-type": "application/json"}
        if length:
            sent["content-length"] = str(len(body))
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}\r\n" for name, value in sent.items() if value is not None]
        return f"{method} {path} HTTP/{version}\r\n{''.join(lines)}\r\n".encode() + body

    return make


def test_a_heartbeat_is_stored_and_answered_without_asgi(served, request_of, device):
    with served.line() as line:
        for number in range(3):
            line.send(request_of(x_request_id=f"trace-{number}"))
            heard = line.hear()

            assert (heard.status, json.loads(heard.body)["ack"]) == (200, True)
            assert heard.headers["x-request-id"] == f"trace-{number}"
            assert {"date", "content-type"} <= set(heard.headers)

    assert served.gateway.by_asgi == []
    _expect_counted(served, 3)
    assert Heartbeat.objects.filter(device_id=device.pk).count() == 3


@pytest.mark.parametrize(
    ("status", "body", "headers", "short"),
    [
        (401, BEAT, {"x_device_token": None}, True),
        (401, BEAT, {"x_device_token": "unknown"}, True),
        (401, BEAT, {"x_device_token": None, "x_api_key": "unknown"}, True),
        (400, b"{", {}, True),
        (422, b'{"health":"well"}', {}, True),
        (415, BEAT, {"content_type": "text/plain"}, True),
        (404, BEAT, {"path": "/api/v1/devices/somebody-else/heartbeat"}, True),
        (404, BEAT, {"path": "/api/v1/devices/-/heartbeat"}, False),
        (405, BEAT, {"method": "PUT"}, False),
        (400, b"", {}, False),
        (413, b" " * 65_537, {}, False),
    ],
)
def test_a_refusal_is_the_same_as_behind_asgi(
    served, request_of, url, token, status, body, headers, short
):
    with served.line() as line:
        line.send(request_of(body, **headers))
        heard = line.hear()
    came_by_asgi = list(served.gateway.by_asgi)
    sent = {"x-device-token": token}
    path, method = headers.pop("path", url), headers.pop("method", "POST")
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {name: value for name, value in sent.items() if value is not None}
    behind = served.call(Call(path, body, sent, method))

    assert (heard.status, heard.body) == (behind.status, behind.body)
    assert heard.status == status
    kept = {name: value for name, value in heard.headers.items() if name not in VARYING}
    assert kept == {name: value for name, value in behind.headers.items() if name not in VARYING}
    assert (came_by_asgi == []) is short


def test_an_api_key_may_send(served, request_of, device):
    _, secret = api_key(device.organization)
    with served.line() as line:
        line.send(request_of(x_device_token=None, x_api_key=secret))

        assert line.hear().status == 200


def test_requests_that_come_at_once_are_answered_in_their_order(served, request_of):
    heartbeats = [request_of(x_request_id=f"trace-{number}") for number in range(4)]
    page = request_of(b"", path="/health", method="GET")
    with served.line() as line:
        line.send(b"".join([*heartbeats[:2], page, *heartbeats[2:]]))
        heard = [line.hear() for _ in range(5)]
        line.send(request_of(x_request_id="trace-9"))
        after = line.hear()

    assert [one.status for one in heard] == [200, 200, 299, 200, 200]
    traces = [one.headers.get("x-request-id") for one in (*heard, after)]
    assert traces == ["trace-0", "trace-1", None, "trace-2", "trace-3", "trace-9"]
    _expect_counted(served, 6)


def test_other_requests_on_the_connection_are_djangos(served, request_of):
    with served.line() as line:
        for _ in range(2):
            line.send(request_of())
            assert line.hear().status == 200
            line.send(request_of(b"", path="/health", method="GET"))
            assert line.hear().status == 299

    assert served.gateway.by_asgi == ["/health"] * 2


@pytest.mark.parametrize(
    ("version", "headers"), [("1.1", {"connection": "close"}), ("1.0", {})], ids=["1.1", "1.0"]
)
def test_a_connection_is_closed_for_who_wants_that(served, request_of, version, headers):
    with served.line() as line:
        line.send(request_of(version=version, **headers))
        heard = line.hear()

        assert (heard.status, heard.headers["connection"]) == (200, "close")
        assert line.is_closed()


def test_a_chunked_body_is_read(served, request_of):
    head = request_of(b"", length=False, transfer_encoding="chunked")
    with served.line() as line:
        line.send(head + b"%x\r\n%b\r\n" % (len(BEAT), BEAT))
        line.send(b"0\r\n\r\n")

        assert line.hear().status == 200


def test_a_body_with_two_lengths_is_refused(served, request_of):
    with served.line() as line:
        line.send(request_of(transfer_encoding="chunked"))

        assert line.hear().status == 400
        assert line.is_closed()
    assert served.gateway.by_asgi == []


def test_who_waits_for_100_continue_gets_it(served, request_of):
    whole = request_of(expect="100-continue")
    with served.line() as line:
        line.send(whole[: -len(BEAT)])
        assert line.hear().status == 100
        line.send(BEAT)

        assert line.hear().status == 200


def test_a_request_may_come_byte_by_byte(served, request_of):
    with served.line() as line:
        for byte in request_of():
            line.send(bytes([byte]))

        assert line.hear().status == 200
    assert served.gateway.by_asgi == []


@pytest.mark.parametrize("missing", [0, 1], ids=["after all", "before the last byte"])
def test_a_caller_that_hangs_up_harms_nobody(served, request_of, missing):
    whole = request_of()
    for _ in range(5):
        with served.line() as line:
            line.send(whole[: len(whole) - missing])
    eventually(
        lambda: not served.server.server_state.connections,
        within=PATIENCE_S,
        what="The end of the connections",
    )

    with served.line() as line:
        line.send(whole)
        assert line.hear().status == 200


def test_an_idle_connection_is_closed_and_a_busy_one_is_not(served, request_of):
    with served.line() as line:
        began = time.monotonic()
        while time.monotonic() < began + 1.5:
            line.send(request_of())
            assert line.hear().status == 200
        answered = time.monotonic()

        assert line.is_closed()
        assert 0.9 < time.monotonic() - answered < PATIENCE_S


def test_who_waits_at_the_servers_end_is_answered_first(served, request_of, monkeypatch):
    held = []
    monkeypatch.setattr(
        served.running.heartbeats, "put", lambda _sender, _raw, tell: held.append(tell)
    )
    with served.line() as line:
        line.send(request_of())
        eventually(lambda: held, within=PATIENCE_S, what="The heartbeat")
        served.server.should_exit = True
        [connection] = served.server.server_state.connections
        eventually(
            lambda: not connection.cycle.keep_alive, within=PATIENCE_S, what="The server's end"
        )
        served.loop.call_soon_threadsafe(held[0], Outcome(503))
        heard = line.hear()

        assert (heard.status, heard.headers["connection"]) == (503, "close")
        assert line.is_closed()


def test_what_goes_wrong_inside_is_a_problem_document(served, request_of, monkeypatch):
    monkeypatch.setattr(served.running.heartbeats, "admit", lambda *_: 1 / 0)
    with served.line() as line:
        line.send(request_of())
        heard = line.hear()

    assert (heard.status, json.loads(heard.body)["code"]) == (500, "internal_error")


def _expect_counted(served, requests):
    """The server counts after it has answered."""
    state = served.server.server_state
    eventually(
        lambda: state.total_requests == requests, within=PATIENCE_S, what=f"{requests} requests"
    )

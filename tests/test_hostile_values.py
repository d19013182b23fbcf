"""Whatever stands in a body, a path or a query: never a 5xx, and a refusal says what was wrong."""

import json
import time
from base64 import b64encode
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from tests.gateway_client import GatewayClient
from tests.identities import Identity, World
from tests.routes import GATEWAY, OPERATIONS, GatewayOperation, Operation, api_routes, parameters
from tests.schema import body_fields, query_names
from tests.world import rolled_back

pytestmark = pytest.mark.django_db

ROUTES = api_routes()
BODIES = [one for one in OPERATIONS if one.method != "GET"]
READS = [one for one in OPERATIONS if one.method == "GET"]
SLOW_S = 2.0
# What a caller must never read: the inside of the portal.
INSIDE = ["Traceback", "psycopg", "SELECT ", "INSERT ", "site-packages", "DETAIL:", "django.db"]

# JSON texts to put where a value belongs.
VALUES = {
    "beyond 64 bits": b"9223372036854775808",
    "far beyond 64 bits": b"1" + b"0" * 400,
    "negative": b"-9223372036854775809",
    "least 64 bit": b"-9223372036854775808",
    "nul": b'"a\\u0000b"',
    "half a surrogate": b'"\\ud800"',
    "not a number": b"NaN",
    "infinity": b"-Infinity",
    "too large a float": b"1e999",
    "tiny float": b"1e-320",
    "null": b"null",
    "true": b"true",
    "empty": b'""',
    "blank": b'" "',
    "list": b"[]",
    "list of lists": b"[[],[[1]],{}]",
    "object": b'{"a":{"b":[null]}}',
    "long": b'"' + b"x" * 70_000 + b'"',
    "first day": b'"0001-01-01T00:00:00+14:00"',
    "last day": b'"9999-12-31T23:59:59-14:00"',
    "control characters": b'"\\u0001\\u001f\\u007f\\u200f\\ufeff"',
    "not utf-8": b'"\xff\xfe"',
    "formula": b'"=cmd|\'/c calc\'!A1"',
    "markup": b'"<script>alert(1)</script>"',
}

WHOLE = {
    "nothing": b"",
    "null": b"null",
    "list": b"[]",
    "text": b'"text"',
    "number": b"1",
    "half": b'{"a": ',
    "two": b"{}{}",
    "byte order mark": b"\xef\xbb\xbf{}",
    "utf-16": '{"name": "a"}'.encode("utf-16"),
    "not utf-8": b'{"name": "\xff"}',
    "deep list": b"[" * 100_000,
    "closed deep list": b"[" * 100_000 + b"]" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "deep member": b'{"metadata":' + b"[" * 1_000 + b"]" * 1_000 + b"}",
    "ten megabytes": b'{"name": "' + b"x" * 10_000_000 + b'"}',
    "many keys": b"{" + b",".join(b'"k%d":1' % n for n in range(100_000)) + b"}",
    "many small keys": b"{" + b",".join(b'"k%d":1' % n for n in range(5_000)) + b"}",
    "repeated keys": b'{"name": "a", "name": "b", "device_id": "x", "device_id": "y"}',
    "nul in a key": b'{"a\\u0000b": 1}',
    "half a surrogate in a key": b'{"\\udfff": 1}',
    "own prototype": b'{"__proto__": {"a": 1}, "constructor": 1, "__class__": 1}',
}
CONTENT_TYPES = [
    "text/plain",
    "application/xml",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "application/json; charset=utf-16",
    "application/json; charset=nothing",
    "application/problem+json",
    "nonsense",
    "",
]
PATHS = ["%00", "a%00b", "%ff", "..%2f..%2fetc", "x" * 5_000, "%F0%9F%92%A9", "-", "a b", "'--", "%0d%0a"]
QUERIES = [
    "", "0", "-1", "1e30", "9" * 50, "9" * 5_000, "\x00", "a\x00b", "\udcff", "%", "'--", "x" * 9_000,
    "0001-01-01", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59+14:00", "9999-12-31T23:59:59-14:00",
    "2026-13-45", "NaN", "null", "true", "[]", "-", ",", "pk", "__class__", "device__organization__name",
]  # fmt: skip
CURSORS = [
    "p=zebra", "p=2026-01-01", "p=0001-01-01T00:00:00+00:00", "p=9999-12-31T23:59:59-14:00",
    "o=-1", "o=99999999999999999999", "r=1&p=x", "p=\x00", "p=" + "9" * 400, "r=1&o=5&p=NaN", "",
]  # fmt: skip


def caller_of(operation: Operation, world: World) -> Identity:
    device = operation.by_device or operation.route == "device-config"
    return world.identities["device" if device else "admin"]


def faults(status: int, content_type: str, body: bytes, took: float) -> list[str]:
    """Return what is wrong with an answer to a hostile request."""
    text = body.decode("utf-8", "replace")
    wrong = [f"tells of “{word}”" for word in INSIDE if word in text]
    if status >= 500:
        wrong.append(f"answered {status}")
    if took > SLOW_S:
        wrong.append(f"took {took:.1f} s")
    if 400 <= status < 500:
        if content_type != "application/problem+json":
            wrong.append(f"refused with {status} as {content_type}")
        else:
            problem = json.loads(body)
            if problem["status"] != status or not problem["code"] or not problem["detail"]:
                wrong.append(f"refused with {problem}")
    return wrong


def sent(client: Client, method: str, url: str, body: bytes, content_type: str) -> list[str]:
    """Send a request, undo it, return what is wrong with the answer."""
    begun = time.monotonic()
    with rolled_back():
        response = client.generic(method, url, body, content_type=content_type)
        is_file = getattr(response, "streaming", False)
        content = b"".join(response.streaming_content) if is_file else response.content
    took = time.monotonic() - begun
    return faults(response.status_code, response.headers.get("Content-Type", ""), content, took)


def with_value(body: Any, name: str, text: bytes) -> bytes:
    """Return the body as JSON with one member's value replaced by the text."""
    return json.dumps({**body, name: "@@"}).encode().replace(b'"@@"', text)


def test_every_operation_with_a_body_has_members_to_try():
    nameless = [
        str(one) for one in BODIES if one.body and one.body is not None and not body_fields(one)
    ]

    assert nameless == ["POST command-bundle"]


@pytest.mark.parametrize("operation", [one for one in BODIES if body_fields(one)], ids=str)
def test_no_value_of_any_member_breaks_an_endpoint(world: World, operation: Operation):
    caller = caller_of(operation, world)
    client = caller.client()
    names = world.acme.names
    body = operation.body(names) if operation.body else {}
    url = operation.url(ROUTES[operation.route], names)

    wrong = [
        f"{name} = {label}: {fault}"
        for name in body_fields(operation)
        for label, text in VALUES.items()
        for fault in sent(
            client, operation.method, url, with_value(body, name, text), "application/json"
        )
    ]

    assert wrong == []


@pytest.mark.parametrize("operation", BODIES, ids=str)
def test_no_body_breaks_an_endpoint(world: World, operation: Operation):
    client = caller_of(operation, world).client()
    url = operation.url(ROUTES[operation.route], world.acme.names)

    wrong = [
        f"{label}: {fault}"
        for label, body in WHOLE.items()
        for fault in sent(client, operation.method, url, body, operation.content_type)
    ]
    wrong += [
        f"{content_type}: {fault}"
        for content_type in CONTENT_TYPES
        for fault in sent(client, operation.method, url, b'{"name": "a"}', content_type)
    ]

    assert wrong == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_no_path_breaks_an_endpoint(world: World, operation: Operation):
    route = ROUTES[operation.route]
    client = caller_of(operation, world).client()
    names = world.acme.names

    wrong = []
    for parameter in parameters(route.path):
        for value in PATHS:
            mark = {operation.path.get(parameter, parameter): "@@"}
            url = operation.url(route, {**names, **mark}).replace("@@", value)
            body = json.dumps(operation.body(names)).encode() if _is_json(operation) else b""
            for fault in sent(client, operation.method, url, body, operation.content_type):
                wrong.append(f"{url[:100]}: {fault}")

    assert wrong == []


def _is_json(operation: Operation) -> bool:
    return operation.body is not None and operation.content_type == "application/json"


@pytest.mark.parametrize("operation", READS, ids=str)
def test_no_query_breaks_an_endpoint(world: World, operation: Operation):
    client = caller_of(operation, world).client()
    url = operation.url(ROUTES[operation.route], world.acme.names)
    cursors = [b64encode(one.encode()).decode() for one in CURSORS]

    wrong = []
    for name in [*query_names(operation), "format", "a\x00b"]:
        for value in [*QUERIES, *(cursors if name == "cursor" else [])]:
            query = urlencode({name: value}, errors="surrogateescape")
            for fault in sent(client, "GET", f"{url}?{query}", b"", "application/json"):
                wrong.append(f"{query[:100]}: {fault}")

    assert wrong == []


@pytest.mark.parametrize(
    "header", ["Authorization", "X-API-Key", "X-Device-Token", "X-Organization", "X-Request-ID"]
)
def test_no_header_breaks_an_endpoint(world: World, header: str):
    client = world.identities["admin"].client()
    values = ["", " ", "a\x00b", "\x7f", "Bearer", "Bearer ", "Bearer a.b.c", "x" * 9_000, "ü", "*"]

    wrong = []
    for value in values:
        response = client.get("/api/v1/devices", headers={header: value})
        content_type = response.headers.get("Content-Type", "")
        wrong += faults(response.status_code, content_type, response.content, 0)

    assert wrong == []


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/", "/api/v1/devices/", "/api/%00"])
def test_a_path_that_is_no_route_is_a_problem_document_too(world: World, path: str):
    response = world.identities["admin"].client().get(path)

    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.django_db(transaction=True)
@pytest.mark.xdist_group("gateway")
@pytest.mark.parametrize("operation", GATEWAY, ids=lambda one: one.name)
def test_no_body_breaks_the_gateway(
    kept_world: World, gateway: GatewayClient, operation: GatewayOperation
):
    names = kept_world.acme.names
    headers = kept_world.identities["device"].headers
    bodies = {**WHOLE, **_gateway_members(operation, names)}

    wrong = []
    for label, body in bodies.items():
        begun = time.monotonic()
        answer = gateway.post(operation.url(names), body, headers)
        took = time.monotonic() - begun
        for fault in faults(answer.status, answer.content_type, answer.body, took):
            wrong.append(f"{label}: {fault}")
    for content_type in CONTENT_TYPES:
        answer = gateway.post(
            operation.url(names), b'{"a": 1}', {**headers, "content-type": content_type}
        )
        wrong += faults(answer.status, answer.content_type, answer.body, 0)

    assert wrong == []


MEMBERS = [
    "device_id", "ts", "timestamp", "boot_id", "sequence", "seq", "version", "agent_version", "commit",
    "last_convergence", "uptime_seconds", "health", "status", "metrics", "errors", "cpu_percent",
    "disk_free_gb", "temperature_c", "containers_running", "role", "anything",
]  # fmt: skip


def _gateway_members(operation: GatewayOperation, names: dict[str, str]) -> dict[str, bytes]:
    body = operation.body(names)
    if body is None:
        return {}
    found = {}
    inner = body["heartbeats"][0] if "heartbeats" in body else body
    for name in MEMBERS:
        for label, text in VALUES.items():
            made = with_value(inner, name, text)
            found[f"{name} = {label}"] = (
                b'{"heartbeats": [' + made + b"]}" if "heartbeats" in body else made
            )
    for name in ("cpu_percent", "load_1m"):
        for label, text in VALUES.items():
            metrics = b'{"metrics": {"' + name.encode() + b'": ' + text + b"}}"
            if "heartbeats" not in body:
                found[f"metrics.{name} = {label}"] = metrics
    return found


@pytest.mark.django_db(transaction=True)
@pytest.mark.xdist_group("gateway")
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

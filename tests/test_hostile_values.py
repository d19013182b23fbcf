"""Whatever stands in a body, a path or a query: never a 5xx, and a refusal says what was wrong."""

import json
import time
from base64 import b64encode
from collections.abc import Iterable
from itertools import product
from typing import TypeVar
from urllib.parse import urlencode

import pytest
from django.test import Client

from tests.hostile import (
    CONTENT_TYPES,
    CURSORS,
    PATHS,
    QUERIES,
    UNREAD,
    UNSTORABLE,
    VALUES,
    WHOLE,
    faults,
    with_value,
)
from tests.identities import Identity, World
from tests.routes import OPERATIONS, Operation, api_routes, parameters
from tests.schema import body_fields, query_names
from tests.world import rolled_back

pytestmark = pytest.mark.django_db

T = TypeVar("T")

ROUTES = api_routes()
BODIES = [one for one in OPERATIONS if one.method != "GET"]
READS = [one for one in OPERATIONS if one.method == "GET"]
# Parameters the same code reads for every list.
EVERYWHERE = {"page", "page_size", "cursor", "search", "ordering", "format", "a\x00b"}
SHARE = 3


def in_turn(values: Iterable[T], turn: int) -> list[T]:
    """Return a third of the values: what the same code reads for all is shared among them."""
    return list(values)[turn % SHARE :: SHARE]


def caller_of(operation: Operation, world: World) -> Identity:
    device = operation.by_device or operation.route == "device-config"
    return world.identities["device" if device else "admin"]


def sent(client: Client, method: str, url: str, body: bytes, content_type: str) -> list[str]:
    """Send a request, undo it, return what is wrong with the answer."""
    begun = time.monotonic()
    with rolled_back():
        response = client.generic(method, url, body, content_type=content_type)
        is_file = getattr(response, "streaming", False)
        content = b"".join(response.streaming_content) if is_file else response.content
    took = time.monotonic() - begun
    return faults(response.status_code, response.headers.get("Content-Type", ""), content, took)


def test_every_operation_with_a_body_has_members_to_try():
    nameless = [
        str(one) for one in BODIES if one.body and one.body is not None and not body_fields(one)
    ]

    assert nameless == [
        "POST command-bundle",
        "PUT command-bundle-parts",
        "POST release-bundle",
        "PUT release-parts",
        "POST artifacts-validate",
    ]


@pytest.mark.parametrize("operation", [one for one in BODIES if body_fields(one)], ids=str)
def test_no_value_of_any_member_breaks_an_endpoint(world: World, operation: Operation):
    caller = caller_of(operation, world)
    client = caller.client()
    names = world.acme.names
    body = operation.body(names) if operation.body else {}
    url = operation.url(ROUTES[operation.route], names)

    members = body_fields(operation)
    tried = [*product(members, VALUES.items()), *product(members[:1], UNSTORABLE.items())]

    wrong = [
        f"{name} = {label}: {fault}"
        for name, (label, text) in tried
        for fault in sent(
            client, operation.method, url, with_value(body, name, text), "application/json"
        )
    ]

    assert wrong == []


@pytest.mark.parametrize("operation", BODIES, ids=str)
def test_no_body_breaks_an_endpoint(world: World, operation: Operation):
    client = caller_of(operation, world).client()
    url = operation.url(ROUTES[operation.route], world.acme.names)

    turn = BODIES.index(operation)
    is_json = operation.content_type == "application/json"
    unread = in_turn(UNREAD.items(), turn) if is_json else UNREAD.items()

    wrong = [
        f"{label}: {fault}"
        for label, body in [*WHOLE.items(), *unread]
        for fault in sent(client, operation.method, url, body, operation.content_type)
    ]
    wrong += [
        f"{content_type}: {fault}"
        for content_type in in_turn(CONTENT_TYPES, turn)
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
            found = sent(client, operation.method, url, body, operation.content_type)
            wrong += [f"{url[:100]}: {fault}" for fault in found]

    assert wrong == []


def _is_json(operation: Operation) -> bool:
    return operation.body is not None and operation.content_type == "application/json"


@pytest.mark.parametrize("operation", READS, ids=str)
def test_no_query_breaks_an_endpoint(world: World, operation: Operation):
    client = caller_of(operation, world).client()
    url = operation.url(ROUTES[operation.route], world.acme.names)
    cursors = [b64encode(one.encode()).decode() for one in CURSORS]

    turn = READS.index(operation)
    wrong = []
    for name in [*query_names(operation), "format", "a\x00b"]:
        values = [*QUERIES, *(cursors if name == "cursor" else [])]
        for value in in_turn(values, turn) if name in EVERYWHERE else values:
            query = urlencode({name: value}, errors="surrogateescape")
            found = sent(client, "GET", f"{url}?{query}", b"", "application/json")
            wrong += [f"{query[:100]}: {fault}" for fault in found]

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

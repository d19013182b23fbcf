"""What the schema says is what the portal does: random requests by schema, every answer checked.

`SCHEMA_EXAMPLES=300` makes a long run of it; the default is what every change can afford.
"""

import os
from functools import cache
from typing import Any

import pytest
import requests
import schemathesis
from django.test import Client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as openapi_checks

from tests.gateway_client import GatewayClient
from tests.identities import World, new_client
from tests.routes import GATEWAY, OPERATIONS, api_routes
from tests.schema import document, path_of
from tests.world import Names, rolled_back

EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "10"))
IDENTITIES = ["key", "device", "anonymous"]
BASE = "http://testserver"
VERDICTS = [
    schemathesis.checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
]
# Probes of the process itself, described by nobody's schema.
ROUTES = api_routes()
GATEWAY_PATHS = {one.path.replace("<device:device_id>", "{device_id}") for one in GATEWAY}


@cache
def operations() -> dict[str, Any]:
    """Return what the schema describes, by “METHOD path”."""
    schema = schemathesis.openapi.from_dict(document())
    return {one.ok().label: one.ok() for one in schema.get_all_operations()}


LABELS = sorted(operations())
DJANGO = [label for label in LABELS if label.split(" ")[1] not in GATEWAY_PATHS]
OWN = [label for label in LABELS if label.split(" ")[1] in GATEWAY_PATHS]


def own_names(label: str, names: Names) -> Names:
    """Return path parameters that name rows of the caller's organisation."""
    method, path = label.split(" ")
    found = {}
    for operation in OPERATIONS:
        if operation.method == method and path_of(ROUTES[operation.route]) == path:
            values = {**names, **{key: names[name] for key, name in operation.path.items()}}
            found = {"id": values.get("pk", ""), **values}
    return found


def requested(case: Any, headers: dict[str, str]) -> requests.PreparedRequest:
    """Return the case as it goes over the wire."""
    arguments = case.as_transport_kwargs(base_url=BASE, headers=headers)
    known = {"method", "url", "headers", "data", "json", "params", "cookies", "files"}
    wanted = {name: value for name, value in arguments.items() if name in known}
    return requests.Request(**wanted).prepare()


def answered(
    request: requests.PreparedRequest, status: int, headers: dict[str, str], body: bytes
) -> requests.Response:
    """Return an answer in the form the checks read."""
    response = requests.Response()
    response.status_code = status
    response._content = body
    response.headers.update(headers)
    response.request = request
    response.url = str(request.url)
    return response


def by_django(client: Client, request: requests.PreparedRequest) -> requests.Response:
    headers = {name: str(value) for name, value in request.headers.items()}
    content_type = headers.pop("Content-Type", "")
    headers.pop("Content-Length", None)
    body = request.body or b""
    response = client.generic(
        str(request.method),
        str(request.url).removeprefix(BASE),
        body if isinstance(body, bytes) else body.encode(),
        content_type=content_type,
        headers=headers,
    )
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return answered(request, response.status_code, dict(response.headers), content)


def by_gateway(client: GatewayClient, request: requests.PreparedRequest) -> requests.Response:
    body = request.body or b""
    answer = client.request(
        str(request.method),
        str(request.url).removeprefix(BASE),
        body if isinstance(body, bytes) else body.encode(),
        {name: str(value) for name, value in request.headers.items()},
    )
    return answered(request, answer.status, answer.headers, answer.body)


def cases(label: str, names: Names) -> st.SearchStrategy[Any]:
    """Return requests by schema and against it, to own rows and to none."""
    operation = operations()[label]
    own = {
        name: value
        for name, value in own_names(label, names).items()
        if "{" + name + "}" in label
    }
    strategies = [operation.as_strategy(GenerationMode.POSITIVE)]
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        try:
            found = operation.as_strategy(mode, path_parameters=own or None)
        except schemathesis.errors.InvalidSchema:
            continue
        strategies.append(found)
    return st.one_of(strategies)


quick = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=EXAMPLES <= 10,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_the_checks_that_matter_exist():
    assert len(CHECKS.get_all()) >= len(VERDICTS)


def test_the_schema_describes_every_operation_of_the_api():
    described = {tuple(label.split(" ")) for label in LABELS}
    offered = {(one.method, path_of(ROUTES[one.route])) for one in OPERATIONS}

    assert offered - described == set()


@pytest.mark.django_db
@pytest.mark.parametrize("name", IDENTITIES)
@pytest.mark.parametrize("label", DJANGO)
def test_the_portal_answers_as_its_schema_says(world: World, label: str, name: str):
    caller = world.identities[name]
    client = new_client()

    @quick
    @given(case=cases(label, world.acme.names))
    def probe(case: Any) -> None:
        request = requested(case, caller.headers)
        with rolled_back():
            response = by_django(client, request)
        case.validate_response(response, checks=VERDICTS)

    probe()


@pytest.mark.django_db(transaction=True)
@pytest.mark.xdist_group("gateway")
@pytest.mark.parametrize("label", OWN)
def test_the_gateway_answers_as_its_schema_says(
    kept_world: World, gateway: GatewayClient, label: str
):
    for name in IDENTITIES:
        headers = kept_world.identities[name].headers

        @quick
        @given(case=cases(label, kept_world.acme.names))
        def probe(case: Any, headers: dict[str, str] = headers) -> None:
            request = requested(case, headers)
            if "wait=" not in str(request.url) or "wait=0" in str(request.url):
                case.validate_response(by_gateway(gateway, request), checks=VERDICTS)

        probe()

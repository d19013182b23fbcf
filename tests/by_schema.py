"""Random requests by the schema, and what is checked of every answer.

`SCHEMA_EXAMPLES=300` makes a long run of it; the default is what every change can afford.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from typing import Any

import requests
import schemathesis
from django.test import Client
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as openapi_checks
from urllib3 import HTTPResponse

from tests.gateway_client import GatewayClient
from tests.gateway_routes import GATEWAY
from tests.routes import OPERATIONS, api_routes
from tests.schema import document, path_of
from tests.world import Names

EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "6"))
IDENTITIES = ["key", "device", "anonymous"]
BASE = "http://testserver"
VERDICTS = [
    schemathesis.checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
]
ROUTES = api_routes()
GATEWAY_PATHS = {one.path.replace("<device:device_id>", "{device_id}") for one in GATEWAY}


@schemathesis.serializer("application/gzip")
def archive(_context: Any, value: Any) -> bytes:
    """Return a made-up archive as it goes over the wire."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


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
    # The checks read the headers as they came.
    response.raw = HTTPResponse(BytesIO(body), headers, status, preload_content=False)
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


@contextmanager
def told_of(caller: str) -> Iterator[None]:
    """Say in what fails who called."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"called as {caller}")
        raise


def cases(label: str, names: Names) -> st.SearchStrategy[Any]:
    """Return requests by schema and against it, to own rows and to none."""
    operation = operations()[label]
    own = {
        name: value for name, value in own_names(label, names).items() if "{" + name + "}" in label
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

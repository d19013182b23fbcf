"""The OpenAPI document, made once, and what it says of an operation's input."""

from functools import cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator

from tests.routes import Found, Operation, api_routes

Json = dict[str, Any]


@cache
def document() -> Json:
    """Return the schema as a caller of /schema gets it."""
    schema: Json = SchemaGenerator().get_schema(request=None, public=True)
    return schema


def path_of(route: Found) -> str:
    """Return a route's path as the schema writes it."""
    pieces = route.path.replace(">", "}").split("<")
    path = "/" + pieces[0] + "".join("{" + piece.split(":", 1)[-1] for piece in pieces[1:])
    return path.replace("{pk}", "{id}")


def described(operation: Operation) -> Json:
    """Return what the schema says of an operation."""
    found: Json = document()["paths"][path_of(api_routes()[operation.route])]
    described_operation: Json = found[operation.method.lower()]
    return described_operation


def body_fields(operation: Operation) -> list[str]:
    """Return the names of the members an operation's JSON body may have."""
    content = described(operation).get("requestBody", {}).get("content", {})
    reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    component = document()["components"]["schemas"].get(reference.rsplit("/", 1)[-1], {})
    return sorted(component.get("properties", {}))


def query_names(operation: Operation) -> list[str]:
    """Return the names of the query parameters of an operation."""
    parameters = described(operation).get("parameters", [])
    return sorted(one["name"] for one in parameters if one["in"] == "query")

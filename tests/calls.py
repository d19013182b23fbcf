"""Calling an operation as somebody, and reading the answer."""

import json
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponseBase

from tests.identities import Identity
from tests.routes import Found, Operation
from tests.world import Names


def encoded(body: Any) -> bytes:
    """Return a body as it goes over the wire."""
    if body is None:
        return b""
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def call(operation: Operation, route: Found, identity: Identity, names: Names) -> Any:
    """Do the operation once as the identity."""
    body = operation.body(names) if operation.body else None
    query = f"?{urlencode(operation.query)}" if operation.query else ""
    return identity.client().generic(
        operation.method,
        operation.url(route, names) + query,
        encoded(body),
        content_type=operation.content_type,
        headers=operation.headers,
    )


def content(response: HttpResponseBase) -> bytes:
    """Return the whole body, streamed or not."""
    if getattr(response, "streaming", False):
        return b"".join(response.streaming_content)  # type: ignore[attr-defined]
    return response.content  # type: ignore[attr-defined,no-any-return]

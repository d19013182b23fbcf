"""Ties an answer to its log lines."""

import re
import uuid
from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

_is_usable = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch


class RequestIdMiddleware:
    """Gives every request an id, which the logs, the audit log and the answer name.

    Stands before the middleware that logs requests. An id that came with the request is kept
    when it is short and plain; anything else would end up in logs and exports as it was sent.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Settle the id and send it back as `X-Request-ID`."""
        sent = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = sent if _is_usable(sent) else str(uuid.uuid4())
        request.META["HTTP_X_REQUEST_ID"] = request_id
        response = self.get_response(request)
        response.headers.setdefault("X-Request-ID", request_id)
        return response

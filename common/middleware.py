"""Ties an answer to its log lines."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from common.request_id import current_request_id


class RequestIdMiddleware:
    """Sends the request's id back, so that a caller can name it when asking for help."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Add `X-Request-ID`."""
        response = self.get_response(request)
        response.headers.setdefault("X-Request-ID", current_request_id())
        return response

"""Headers of the console's pages."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase


class ContentSecurityMiddleware:
    """Forbids pages to load anything from outside, and caches to keep what people saw."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Add the headers."""
        response = self.get_response(request)
        response.headers.setdefault(
            "Content-Security-Policy",
            # The admin theme's Alpine.js evaluates expressions and sets styles inline.
            "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval';"
            " style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:;"
            " connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self';"
            " frame-ancestors 'none'",
        )
        if not request.path.startswith("/static/"):
            response.headers.setdefault("Cache-Control", "no-store")
        return response

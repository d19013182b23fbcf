"""Headers of the console's pages."""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

# Swagger UI starts itself with a script in the page.
_INLINE_SCRIPT = ("/docs",)


def content_policy(path: str) -> str:
    """Return what a page may load: nothing from outside.

    The admin theme's Alpine.js evaluates expressions and sets styles inline.
    """
    inline = " 'unsafe-inline'" if path in _INLINE_SCRIPT else ""
    return (
        f"default-src 'self'; script-src 'self' 'unsafe-eval'{inline};"
        " style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:;"
        " connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self';"
        " frame-ancestors 'none'"
    )


class ContentSecurityMiddleware:
    """Forbids pages to load anything from outside, and caches to keep what people saw."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Add the headers."""
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", content_policy(request.path))
        if not request.path.startswith("/static/"):
            response.headers.setdefault("Cache-Control", "no-store")
        return response

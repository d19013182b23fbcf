"""The API speaks JSON, whatever the caller accepts."""

from typing import Any

from rest_framework.negotiation import BaseContentNegotiation, DefaultContentNegotiation
from rest_framework.request import Request


class JsonAlways(BaseContentNegotiation):
    """Parsers by content type; the first renderer always, so that a refusal is readable too."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Pick the parser for the body's content type."""
        return DefaultContentNegotiation().select_parser(request, parsers)

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> Any:
        """Pick the view's first renderer."""
        return renderers[0], renderers[0].media_type

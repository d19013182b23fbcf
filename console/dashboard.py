"""The first page."""

from typing import Any

from django.http import HttpRequest


def dashboard(_request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Fill the dashboard's context."""
    return context

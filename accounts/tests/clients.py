"""Clients of the API for tests."""

from rest_framework.test import APIClient

from accounts.principals import Principal


def api_of(principal: Principal | None = None) -> APIClient:
    """Return a client that speaks JSON as this principal."""
    client = APIClient()
    client.default_format = "json"
    client.force_authenticate(user=principal)  # type: ignore[arg-type]
    return client

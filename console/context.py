"""What every page of the console knows."""

from typing import Any

from django.http import HttpRequest

from accounts.principals import switchable_organizations


def console(request: HttpRequest) -> dict[str, Any]:
    """Give templates the principal and the organisations to switch to."""
    principal = getattr(request, "principal", None)
    if principal is None:
        return {"principal": None}
    return {"principal": principal, "organizations": switchable_organizations(principal.user)}

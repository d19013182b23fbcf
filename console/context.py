"""What every page of the console knows."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.principals import ALL_ORGANIZATIONS, Principal, switchable_organizations

# Pages of the accounts library: they wear the console's look, so they need its context.
_ACCOUNT_PAGES = ("account_", "mfa_")


def _principal(request: HttpRequest) -> Principal | None:
    return getattr(request, "principal", None)


def console(request: HttpRequest) -> dict[str, Any]:
    """Give templates the principal and the organisations to switch to."""
    principal = _principal(request)
    found: dict[str, Any] = {"principal": principal}
    if principal is not None and principal.user is not None:
        user = principal.user
        found["organizations"] = SimpleLazyObject(lambda: switchable_organizations(user))
        found["all_organizations"] = ALL_ORGANIZATIONS
    match = request.resolver_match
    if match and (match.url_name or "").startswith(_ACCOUNT_PAGES):
        found |= admin.site.each_context(request)
    return found


def organization_name(request: HttpRequest) -> str:
    """Return where the person acts, for the head of the sidebar."""
    principal = _principal(request)
    if principal is None:
        return "Devices, commands, audit"
    if principal.sees_all:
        return "All organisations (read only)"
    return principal.organization.name if principal.organization else "No organisation"


def switcher(request: HttpRequest) -> list[dict[str, str]]:
    """Say whether the head of the sidebar opens; what it then shows are forms, not links."""
    principal = _principal(request)
    return [{"title": "Organisations", "link": "#"}] if principal else []

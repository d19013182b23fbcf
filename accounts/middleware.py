"""Gives every console request its principal: who, in which organisation, with which role."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponseBase

from accounts.authentication import SESSION_ORGANIZATION
from accounts.principals import user_principal


class PrincipalMiddleware:
    """Sets `request.principal` for signed-in people; None for everybody else."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> HttpResponseBase:
        """Resolve the person in the organisation chosen by the switcher."""
        request.principal = None
        if request.user.is_authenticated:
            chosen = request.session.get(SESSION_ORGANIZATION)
            request.principal = user_principal(request.user, chosen)
            if chosen and request.principal.role is None:
                # The membership ended meanwhile: fall back to one the person still has.
                del request.session[SESSION_ORGANIZATION]
                request.principal = user_principal(request.user)
        return self.get_response(request)

"""The policy table as a DRF permission."""

from typing import TYPE_CHECKING

from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.policy import Action
from accounts.principals import Principal

if TYPE_CHECKING:
    from rest_framework.views import APIView


def principal_of(request: Request) -> Principal | None:
    """Return who asks; None for a stranger. The portal's authenticators give nothing else."""
    found: object = request.user
    return found if isinstance(found, Principal) else None


class HoldsRight(BasePermission):
    """Asks the policy table for the right the view names for the method; default deny."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Let through who holds the right; refuse others with a sentence."""
        principal = principal_of(request)
        if principal is None:
            return False
        actions: dict[str, Action] = getattr(view, "actions", {})
        method = "GET" if request.method in {"HEAD", "OPTIONS"} else str(request.method)
        if method not in actions:
            if request.method == "OPTIONS":
                return True
            raise MethodNotAllowed(str(request.method))
        principal.require(actions[method])
        return True

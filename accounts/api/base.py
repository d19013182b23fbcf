"""What every endpoint of the portal inherits: a right per method, and rows through `visible_to`."""

from typing import Any, ClassVar

from django.http import Http404
from rest_framework.exceptions import NotAuthenticated
from rest_framework.generics import GenericAPIView

from accounts.permissions import HoldsRight, principal_of
from accounts.policy import Action
from accounts.principals import Principal


class PortalView(GenericAPIView[Any]):
    """An endpoint: `actions` names the right each method needs."""

    permission_classes = [HoldsRight]
    # OPTIONS would describe the rows; the schema describes the endpoints.
    metadata_class = None
    actions: ClassVar[dict[str, Action]] = {}

    @property
    def principal(self) -> Principal:
        """Whoever asks; the permission check has made sure of it."""
        principal = principal_of(self.request)
        if principal is None:
            raise NotAuthenticated
        return principal


def visible_or_404(queryset: Any, principal: Principal, **lookup: Any) -> Any:
    """Return the one visible row; a foreign row and an absent one give the same 404."""
    row = queryset.visible_to(principal).filter(**lookup).first()
    if row is None:
        raise Http404
    return row

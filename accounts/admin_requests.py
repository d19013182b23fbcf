"""What the console knows of a request: who asks, and where they may be sent."""

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils.http import url_has_allowed_host_and_scheme

from accounts.principals import Principal


def principal_of(request: HttpRequest) -> Principal:
    """Return whoever asks. The admin site has made sure that there is somebody."""
    principal: Principal | None = getattr(request, "principal", None)
    if principal is None:
        raise PermissionDenied
    return principal


def own_path(request: HttpRequest, wanted: str) -> str:
    """Return the path when it stays on this site, else an empty text."""
    safe = wanted.startswith("/") and url_has_allowed_host_and_scheme(
        wanted, {request.get_host()}, require_https=request.is_secure()
    )
    return wanted if safe else ""

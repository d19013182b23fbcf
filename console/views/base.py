"""What the console's own pages share."""

from typing import Any, TypeVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils.http import url_has_allowed_host_and_scheme

from accounts.admin_site import principal_of
from accounts.policy import Action
from accounts.principals import Principal

Row = TypeVar("Row", bound=models.Model)


def allowed(request: HttpRequest, action: Action, *, acting: bool = False) -> Principal:
    """Return whoever asks, or refuse; acting needs one organisation to act in."""
    principal = principal_of(request)
    if not principal.may(action) or (acting and principal.organization is None):
        raise PermissionDenied
    return principal


def visible(rows: Any, principal: Principal, pk: object) -> Any:
    """Return the one visible row; a foreign id and an absent one give the same 404."""
    return get_object_or_404(rows.visible_to(principal), pk=pk)


def page(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """Answer with a page in the console's look."""
    return TemplateResponse(request, template, {**admin.site.each_context(request), **context})


def safe_next(request: HttpRequest, fallback: str) -> str:
    """Return the address the form names when it is one of this site."""
    wanted = str(request.POST.get("next", ""))
    ok = url_has_allowed_host_and_scheme(
        wanted, {request.get_host()}, require_https=request.is_secure()
    )
    return wanted if ok else fallback

"""What the console's own pages share."""

from typing import Any, TypeVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse

from accounts.admin_requests import own_path, principal_of
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


def back(request: HttpRequest, fallback: str) -> HttpResponseRedirect:
    """Go to the path the form names when it is one of this site."""
    return HttpResponseRedirect(own_path(request, str(request.POST.get("next", ""))) or fallback)

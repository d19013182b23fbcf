"""Rows that are shown as a page with buttons: it is kept fresh, and each button calls a service."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path

from accounts.admin_requests import principal_of
from accounts.admin_site import TenantModelAdmin
from accounts.policy import Action
from accounts.principals import Principal
from common import limits
from common.errors import DomainError


@dataclass(frozen=True)
class Verb:
    """A button: what it says, what its dialog asks, and in which states it stands there."""

    name: str
    word: str
    question: str
    lead: str
    done: str
    right: Action
    states: tuple[str, ...]
    tone: Literal["", "main", "bad"] = ""
    reason: Literal["no", "may", "must"] = "may"
    # A template with further questions.
    asks: str = ""
    # Afterwards the row is gone.
    removes: bool = False

    def allowed(self, principal: Principal) -> bool:
        """Say whether the person may do it at all."""
        return principal.organization is not None and principal.may(self.right)


class VerbForm(forms.Form):
    """Why somebody does something."""

    reason = forms.CharField(required=False, max_length=limits.LINE_CHARS)


class PageAdmin(TenantModelAdmin):
    """Base of classes whose rows have a page of their own instead of a form.

    A subclass names its verbs and templates, and has `page_context` and `act`. The templates
    include console/parts/verb_buttons.html and verb_dialogs.html; they are given `row`,
    `act_name`, `verbs` (the buttons of the moment) and `dialogs` (what the person may do at all).
    """

    verbs: ClassVar[Sequence[Verb]] = ()
    page_template: ClassVar[str] = ""
    # The part of the page that is fetched again; none: nothing of it changes by itself.
    live_template: ClassVar[str] = ""
    act_form: ClassVar[type[forms.Form]] = VerbForm

    def page_context(self, row: Any, principal: Principal) -> dict[str, Any]:
        """Return what the page and its live part show."""
        raise NotImplementedError

    def act(self, verb: str, row: Any, principal: Principal, entered: dict[str, Any]) -> Any | None:
        """Call the verb's service; return the row to go to when it is another."""
        raise NotImplementedError

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        own = [path("<uuid:pk>/do/<slug:verb>/", wrap(self.act_view), name=self._route("act"))]
        if self.live_template:
            own.append(path("<uuid:pk>/live/", wrap(self.live_view), name=self._route("live")))
        return [*own, *super().get_urls()]

    def _route(self, what: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{what}"

    def visible_row(self, request: HttpRequest, object_id: object) -> Any | None:
        """Return the row when the person sees it; refuse who sees none of them."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return self.get_object(request, unquote(str(object_id)))

    def _context(self, row: Any, principal: Principal) -> dict[str, Any]:
        return {
            "row": row,
            "act_name": f"admin:{self._route('act')}",
            **self.page_context(row, principal),
        }

    def to_page(self, row: Any) -> HttpResponse:
        """Lead to the page of a row."""
        return redirect(f"admin:{self._route('change')}", row.pk)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one row; nothing of it is edited here."""
        row = self.visible_row(request, object_id)
        if row is None:
            return self.absent(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            **self._context(row, principal_of(request)),
            "title": str(row),
            "model_admin": self,
            "opts": self.opts,
        }
        return TemplateResponse(request, self.page_template, context)

    def live_view(self, request: HttpRequest, pk: object) -> HttpResponse:
        """Return the changing part of the page."""
        row = self.visible_row(request, pk)
        if row is None:
            return HttpResponse(status=404)
        context = self._context(row, principal_of(request))
        return TemplateResponse(request, self.live_template, context)

    def act_view(self, request: HttpRequest, pk: object, verb: str) -> HttpResponse:
        """Do to a row what a button says; a refusal becomes a message."""
        row = self.visible_row(request, pk)
        if row is None:
            return self.absent(request, pk)
        principal = principal_of(request)
        known = next((one for one in self.verbs if one.name == verb), None)
        if request.method != "POST" or known is None or not known.allowed(principal):
            raise PermissionDenied
        form = self.act_form(request.POST)
        if not form.is_valid():
            fault = next(iter(form.errors.values()))[0]
            self.message_user(request, str(fault), messages.ERROR)
            return self.to_page(row)
        try:
            row = self.act(verb, row, principal, form.cleaned_data) or row
        except DomainError as refusal:
            self.message_user(request, refusal.message, messages.ERROR)
            return self.to_page(row)
        self.message_user(request, known.done, messages.SUCCESS)
        if known.removes:
            return redirect(f"admin:{self._route('changelist')}")
        return self.to_page(row)

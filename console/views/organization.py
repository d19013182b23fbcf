"""Where a person acts."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts.admin_requests import principal_of
from accounts.authentication import SESSION_ORGANIZATION
from accounts.policy import Action
from accounts.principals import ALL_ORGANIZATIONS, user_principal
from audit import services as audit
from console.views.base import allowed


@require_POST
def switch(request: HttpRequest) -> HttpResponse:
    """Act in another organisation from now on; looking at all of them is written to the log."""
    principal = principal_of(request)
    slug = str(request.POST.get("organization", ""))
    if principal.user is None or not slug:
        raise Http404
    found = user_principal(principal.user, slug)
    # An organisation the person is no member of and one that does not exist are the same.
    if found.role is None:
        messages.error(request, "You are not a member of that organisation.")
        return redirect("admin:index")
    if slug == ALL_ORGANIZATIONS:
        audit.record(actor=principal, organization=None, action="console.all_organizations")
    request.session[SESSION_ORGANIZATION] = slug
    # The page one came from may show a row that the other organisation does not have.
    return redirect("admin:index")


def settings(request: HttpRequest) -> HttpResponse:
    """Lead to the settings of the organisation the person acts in."""
    principal = allowed(request, Action.ORGANIZATION_READ)
    if principal.organization is None:
        return redirect("admin:accounts_organization_changelist")
    return redirect(reverse("admin:accounts_organization_change", args=[principal.organization.pk]))

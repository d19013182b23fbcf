"""Signing keys: who signs what until when, what waits for signatures, and handing them in."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts.policy import Action
from common import clock, limits
from common.errors import DomainError
from console.views.base import allowed, page, visible
from releases.models import TrustDraft
from releases.services.trust_drafts import Imported, signatures_add
from releases.services.trust_status import trust_status
from releases.trust.ceremony import described, signatures_of
from releases.trust.roles import parsed

MODES = {
    "none": ("unknown", "nothing published yet"),
    "ceremony": ("pending", "ceremony under way"),
    "online": ("degraded", "online only"),
    "offline": ("healthy", "offline keys"),
}
# What a signature of each role stands for.
ROLES = {
    "root": "names the keys of all the others",
    "targets": "names who signs for canary and early devices, and who for general ones",
    "staged": "lists releases for canary and early devices",
    "general": "lists releases for every other device",
    "snapshot": "holds the newest versions together",
    "timestamp": "says that they are still the newest",
}


class SignedForm(forms.Form):
    """A file that was downloaded here and signed elsewhere."""

    file = forms.FileField(max_length=limits.LINE_CHARS)

    def clean_file(self) -> list[dict[str, str]]:
        """Return the signatures of the file, or say why it is none."""
        file = self.cleaned_data["file"]
        if file.size > limits.TRUST_FILE_BYTES:
            raise forms.ValidationError(
                f"A signed file has at most {limits.TRUST_FILE_BYTES} bytes."
            )
        try:
            signatures = signatures_of(file.read())
        except DomainError as refusal:
            raise forms.ValidationError(refusal.message) from None
        if len(signatures) > limits.TRUST_SIGNATURES:
            raise forms.ValidationError(f"At most {limits.TRUST_SIGNATURES} signatures.")
        if not signatures:
            raise forms.ValidationError("Nobody has signed this file yet.")
        return signatures


def keys(request: HttpRequest) -> HttpResponse:
    """Show how the keys of the organisation stand, with what waits for signatures."""
    principal = allowed(request, Action.RELEASE_READ, acting=True)
    status = trust_status(organization=principal.acting_organization(), now=clock.now())
    may_sign = principal.may(Action.TRUST_MANAGE)
    rows = {one.role: one for one in TrustDraft.objects.visible_to(principal)} if may_sign else {}
    context = {
        "title": "Signing keys",
        "status": status,
        "mode": MODES[status.mode],
        "roles": [(one, ROLES.get(one.role, "")) for one in status.roles],
        "drafts": [_draft(one, rows.get(one.role)) for one in status.drafts],
        "may_sign": may_sign,
        "slug": principal.acting_organization().slug,
    }
    return page(request, "console/trust.html", context)


def _draft(status: Any, row: TrustDraft | None) -> dict[str, Any]:
    """Return what waits, and what a signature on it would say."""
    lines = described(parsed(bytes(row.content)))[:-1] if row else []
    enough = status.signatures + status.missing
    return {
        "status": status,
        "row": row,
        "says": "\n".join(lines),
        "does": ROLES[status.role],
        "words": f"{status.signatures} of {enough}, {status.missing} missing",
    }


def draft(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Hand out what has to be signed."""
    row = visible(TrustDraft.objects, allowed(request, Action.TRUST_MANAGE, acting=True), pk)
    return HttpResponse(
        bytes(row.content),
        content_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{row.role}.json"'},
    )


@require_POST
def sign(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Take the signatures of a signed file; what has enough of them goes into force."""
    principal = allowed(request, Action.TRUST_MANAGE, acting=True)
    row: TrustDraft = visible(TrustDraft.objects.select_related("organization"), principal, pk)
    form = SignedForm(request.POST, request.FILES)
    if not form.is_valid():
        messages.error(request, str(form.errors["file"][0]))
        return HttpResponseRedirect(reverse("console:trust"))
    try:
        told = signatures_add(
            organization=row.organization,
            role=row.role,
            signatures=form.cleaned_data["file"],
            actor=principal,
            now=clock.now(),
        )
    except DomainError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, _sentence(told))
    return HttpResponseRedirect(reverse("console:trust"))


def _sentence(told: Imported) -> str:
    if told.published:
        return f"In force now: {', '.join(told.published)}."
    if told.missing:
        return f"{told.role} is signed by {told.signatures}; {told.missing} still missing."
    return f"{told.role} has all its signatures, and waits for the other roles."

"""A form that is sent twice acts once, with or without scripts in the browser."""

import json
from collections.abc import Callable
from hashlib import sha256

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts.admin_requests import principal_of
from common import idempotency
from common.errors import DomainError
from common.ids import secret_token

FIELD = "sent_once"
# Differs between two copies of the same form.
_NOT_CONTENT = ("csrfmiddlewaretoken",)


def form_nonce() -> str:
    """Return what a form carries so that it counts once."""
    return secret_token()


def once(request: HttpRequest, act: Callable[[], tuple[HttpResponse, str | None]]) -> HttpResponse:
    """Do what a form asks for, unless the same form with the same content did it already.

    `act` returns its answer, and the path that shows what it did; None when it did nothing. Who
    sends the form again is led to that path. Raises StillRunning and what `act` raises.
    """
    principal = principal_of(request)
    nonce = str(request.POST.get(FIELD, ""))
    if not nonce:
        return act()[0]
    sent = sorted((name, given) for name, given in request.POST.lists() if name not in _NOT_CONTENT)
    body = json.dumps(sent).encode()
    asked = idempotency.Asked(
        # With the content: a form that was changed after going back is another one.
        key=f"form-{sha256(nonce.encode() + body).hexdigest()}",
        organization_id=principal.acting_organization().pk,
        caller=f"{principal.kind} {principal.id}",
        method="POST",
        path=request.path,
        body=body,
    )
    with transaction.atomic():
        before = idempotency.begin(asked)
    if before is not None:
        messages.info(request, "This form was sent before; it was not carried out again.")
        return redirect(before.headers["Location"])
    try:
        answer, shows = act()
    except DomainError:
        idempotency.release(asked)
        raise
    if shows is None:
        idempotency.release(asked)
    else:
        kept = idempotency.Answer(status=302, body=b"", headers={"Location": shows})
        idempotency.finish(asked, kept)
    return answer

"""People with a browser."""

import re

from django.http import HttpResponse
from django.test import Client

from accounts.authentication import SESSION_ORGANIZATION
from accounts.principals import Principal

_MESSAGE = re.compile(r"\s+")


def browser_of(principal: Principal) -> Client:
    """Return a signed-in browser of a person, in the organisation they act in."""
    client = Client()
    client.force_login(principal.user, backend="accounts.backends.PortalBackend")
    session = client.session
    if principal.organization is not None:
        session[SESSION_ORGANIZATION] = principal.organization.slug
    session.save()
    return client


def text_of(response: HttpResponse) -> str:
    """Return the page with its white space folded."""
    return _MESSAGE.sub(" ", response.content.decode())

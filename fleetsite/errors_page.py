"""The page every problem's `type` points at: each code with what it means."""

import inspect
from dataclasses import dataclass

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from common.errors import DomainError

_SHARED = {
    "invalid": (422, "A value was refused; `errors` names the fields."),
    "parse_error": (400, "The body cannot be read."),
    "not_authenticated": (401, "No credential was sent."),
    "authentication_failed": (401, "The credential is unknown, expired or revoked."),
    "permission_denied": (403, "The caller may not do this."),
    "not_found": (404, "Nothing is there, or it belongs to somebody else."),
    "method_not_allowed": (405, "The method is not offered here."),
    "body_too_large": (413, "The body is over what the proxy lets through."),
    "too_many_connections": (429, "This address has too many open connections."),
    "unavailable": (503, "The portal does not answer the proxy at the moment."),
    "too_large": (413, "The body is over its cap."),
    "unsupported_media_type": (415, "The content type is not read here."),
    "overloaded": (503, "Too much is waiting; come back after `Retry-After` seconds."),
    "internal_error": (500, "Something failed on this side; the log knows it by X-Request-ID."),
}


@dataclass(frozen=True)
class ErrorCode:
    """A code of the API, the status it comes with and what it means."""

    code: str
    status: int
    meaning: str


def _refusals(kind: type[DomainError]) -> list[type[DomainError]]:
    return [kind, *[deeper for child in kind.__subclasses__() for deeper in _refusals(child)]]


def error_codes() -> list[ErrorCode]:
    """Return every code the API can answer with, by name."""
    found = {code: ErrorCode(code, *rest) for code, rest in _SHARED.items()}
    for kind in _refusals(DomainError):
        meaning = inspect.cleandoc(kind.__doc__ or "").split("\n")[0]
        found.setdefault(kind.code, ErrorCode(kind.code, kind.http_status, meaning))
    return [found[code] for code in sorted(found)]


@transaction.non_atomic_requests
def errors_page(request: HttpRequest) -> HttpResponse:
    """List the codes."""
    return render(request, "errors.html", {"codes": error_codes()})

"""What every endpoint shares: refusals as problem details (RFC 9457)."""

import random
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import set_rollback

from common.errors import DomainError

log = structlog.get_logger(__name__)

PROBLEM_TYPE = "application/problem+json"
OVERLOADED = (
    "The portal cannot take this at the moment. Send it again after the time in Retry-After."
)
NOT_FOUND = "There is nothing here under that id. Check the id and the organisation you act in."


def retry_after_s() -> int:
    """Return when to come back after an overload: not all at once."""
    return random.randint(1, 6)  # noqa: S311 - spreads load


class ProblemRenderer(JSONRenderer):
    """Names problem details by their media type."""

    media_type = PROBLEM_TYPE
    charset = None


def problem(*, status: int, code: str, detail: str, **extra: object) -> dict[str, object]:
    """Return the body of a refusal; `extra` stands beside the standard members."""
    return {
        "type": f"/docs/errors#{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
        **extra,
    }


def problem_response(
    *,
    status: int,
    code: str,
    detail: str,
    headers: dict[str, str] | None = None,
    extra: dict[str, object] | None = None,
) -> Response:
    """Return a refusal as a response."""
    body = problem(status=status, code=code, detail=detail, **(extra or {}))
    return Response(body, status=status, headers=headers, content_type=PROBLEM_TYPE)


def _flat(errors: Any, path: str = "") -> dict[str, list[str]]:
    """Turn nested serializer errors into `{"a.0.b": ["sentence"]}`."""
    if isinstance(errors, dict):
        items = [(f"{path}.{key}" if path else str(key), value) for key, value in errors.items()]
    elif isinstance(errors, list) and any(isinstance(item, dict | list) for item in errors):
        items = [(f"{path}.{index}" if path else str(index), v) for index, v in enumerate(errors)]
    else:
        sentences = errors if isinstance(errors, list) else [errors]
        return {path or "body": [str(sentence) for sentence in sentences]}
    flat: dict[str, list[str]] = {}
    for name, value in items:
        if value:
            flat.update(_flat(value, name))
    return flat


def _undo(context: dict[str, Any]) -> None:
    """Roll the request's transaction back: with ATOMIC_REQUESTS a handled exception commits.

    A view that opted out of that transaction has nothing to undo.
    """
    dispatch = getattr(context.get("view"), "dispatch", None)
    if not getattr(dispatch, "_non_atomic_requests", None):
        set_rollback()


def _as_api_exception(exc: Exception) -> exceptions.APIException | None:
    if isinstance(exc, exceptions.APIException):
        return exc
    if isinstance(exc, Http404):
        return exceptions.NotFound()
    if isinstance(exc, PermissionDenied):
        return exceptions.PermissionDenied()
    return None


def _headers(exc: exceptions.APIException) -> dict[str, str]:
    headers = {}
    if getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = str(exc.auth_header)  # type: ignore[attr-defined]
    if getattr(exc, "wait", None):
        headers["Retry-After"] = str(int(exc.wait))  # type: ignore[attr-defined]
    return headers


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Turn every refusal into problem details; the one place where that happens."""
    if isinstance(exc, DomainError):
        _undo(context)
        wait = exc.extra.get("retry_after_s")
        return problem_response(
            status=exc.http_status,
            code=exc.code,
            detail=exc.message,
            headers={"Retry-After": str(wait)} if wait else None,
            extra=exc.extra,
        )
    refusal = _as_api_exception(exc)
    if refusal is None:
        return None
    _undo(context)
    if isinstance(refusal, exceptions.ValidationError):
        return problem_response(
            status=422,
            code="invalid",
            detail="Some fields were refused; `errors` names each with the reason.",
            extra={"errors": _flat(refusal.detail)},
        )
    if isinstance(refusal, exceptions.NotFound):
        return problem_response(status=404, code="not_found", detail=NOT_FOUND)
    return problem_response(
        status=refusal.status_code,
        code=str(refusal.default_code),
        detail=str(refusal.detail),
        headers=_headers(refusal),
    )

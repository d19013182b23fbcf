"""The last words of the site: API callers get problem details, people get pages."""

import sys

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views import defaults

from common.api import NOT_FOUND, PROBLEM_TYPE, problem

# When whoever holds a lock, or loads the database, will most likely be done.
RETRY_AFTER_S = 3


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404 outside of every view."""
    if not _is_api(request):
        return defaults.page_not_found(request, exception)
    body = problem(status=404, code="not_found", detail=NOT_FOUND)
    return JsonResponse(body, status=404, content_type=PROBLEM_TYPE)


def server_error(request: HttpRequest) -> HttpResponse:
    """500: what went wrong stands in the log under the request's id, not in the answer.

    503 when the database had no time: a lock did not come, a statement took too long, or there is
    no connection. Nothing was changed then.
    """
    if isinstance(sys.exception(), OperationalError):
        return _overloaded(request)
    if not _is_api(request):
        return defaults.server_error(request)
    body = problem(
        status=500,
        code="internal_error",
        detail="Something failed on this side. Try again; the log knows it by X-Request-ID.",
    )
    return JsonResponse(body, status=500, content_type=PROBLEM_TYPE)


def _overloaded(request: HttpRequest) -> HttpResponse:
    if not _is_api(request):
        page = render(request, "503.html", status=503)
        page["Retry-After"] = str(RETRY_AFTER_S)
        return page
    body = problem(
        status=503,
        code="overloaded",
        detail="The database had no time for this; nothing was changed. Send it again after the"
        " time in Retry-After.",
    )
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return JsonResponse(body, status=503, content_type=PROBLEM_TYPE, headers=headers)

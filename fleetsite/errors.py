"""The last words of the site: API callers get problem details, people get pages."""

import sys

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views import defaults

from common.api import NOT_FOUND, OVERLOADED, PROBLEM_TYPE, problem, retry_after_s


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
    headers = {"Retry-After": str(retry_after_s())}
    if not _is_api(request):
        # Without what pages usually know: that would be asked of the database.
        return HttpResponse(render_to_string("503.html"), status=503, headers=headers)
    body = problem(status=503, code="overloaded", detail=OVERLOADED)
    return JsonResponse(body, status=503, content_type=PROBLEM_TYPE, headers=headers)

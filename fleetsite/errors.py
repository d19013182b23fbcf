"""The last words of the site: API callers get problem details, people get pages."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults

from common.api import NOT_FOUND, PROBLEM_TYPE, problem


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404 outside of every view."""
    if not _is_api(request):
        return defaults.page_not_found(request, exception)
    body = problem(status=404, code="not_found", detail=NOT_FOUND)
    return JsonResponse(body, status=404, content_type=PROBLEM_TYPE)


def server_error(request: HttpRequest) -> HttpResponse:
    """500: what went wrong stands in the log under the request's id, not in the answer."""
    if not _is_api(request):
        return defaults.server_error(request)
    body = problem(
        status=500,
        code="internal_error",
        detail="Something failed on this side. Try again; the log knows it by X-Request-ID.",
    )
    return JsonResponse(body, status=500, content_type=PROBLEM_TYPE)

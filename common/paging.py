"""Two ways to page: numbers for small sets, opaque cursors for what only grows."""

from typing import Any

from django.core.exceptions import ValidationError
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.exceptions import NotFound
from rest_framework.filters import SearchFilter
from rest_framework.pagination import CursorPagination, PageNumberPagination

from common import limits

# What narrows a list with cursors. Its order is fixed: a cursor is a place in it.
CURSOR_FILTERS: list[Any] = [DjangoFilterBackend, SearchFilter]


class Pages(PageNumberPagination):
    """`page` and `page_size`; the answer counts the whole set."""

    page_size = limits.PAGE_SIZE
    page_size_query_param = "page_size"
    max_page_size = limits.PAGE_SIZE_MAX

    def get_page_number(self, request: Any, paginator: Any) -> Any:
        """Refuse page numbers no database offset can hold."""
        number = super().get_page_number(request, paginator)
        digits = str(number).lstrip("0")
        if digits.isdecimal() and (len(digits) > 9 or int(digits) > limits.PAGE_MAX):
            raise NotFound
        return number


class Cursors(CursorPagination):
    """An opaque `cursor`; `ordering` is the view's, newest first by default."""

    page_size = limits.PAGE_SIZE
    page_size_query_param = "page_size"
    max_page_size = limits.PAGE_SIZE_MAX
    ordering = "-id"

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> Any:
        """Refuse a made-up cursor: its position is no value of the ordering column."""
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValidationError, ValueError):
            raise NotFound from None

    def get_ordering(self, request: Any, queryset: Any, view: Any) -> tuple[str, ...]:
        """Take the view's `cursor_ordering`, which must end in a unique column."""
        ordering = getattr(view, "cursor_ordering", self.ordering)
        return (ordering,) if isinstance(ordering, str) else tuple(ordering)

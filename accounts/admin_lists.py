"""The parts of the console's lists: pages, counts, and filters that offer visible rows only."""

from datetime import UTC
from typing import Any

from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    DropdownFilter,
    MultipleDropdownFilter,
    RangeDateTimeFilter,
    RelatedDropdownFilter,
)
from unfold.contrib.filters.forms import AutocompleteDropdownForm
from unfold.utils import parse_datetime_str
from unfold.views import ChangeList

from accounts.admin_requests import principal_of
from common import limits

# Counting stops here: nobody pages further, and a count of everything reads everything.
COUNT_MAX = 10_000


class BoundedPaginator(Paginator):
    """Pages of what only grows: the count ends at COUNT_MAX."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list[:COUNT_MAX]
        return int(rows.count())


class PortalChangeList(ChangeList):
    """A list that does not offer to show all when nothing is narrowed."""

    def get_results(self, request: HttpRequest) -> None:
        """Spare the unfiltered list the second count the theme compares with."""
        super().get_results(request)
        if not self.query and not self.has_active_filters:
            self.full_result_count = self.result_count


def _choices_of(one: Any, model_admin: Any) -> list[tuple[str, str]]:
    field = model_admin.model._meta.get_field(one.column or one.parameter_name)
    return [(str(value), str(label)) for value, label in field.flatchoices]


class ChoiceFilter(DropdownFilter):
    """One of the choices of a column, which is called like the parameter unless it is named."""

    column = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return _choices_of(self, model_admin)

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> Any:
        """Narrow to the chosen value; one that is no choice finds nothing."""
        column = self.column or self.parameter_name
        return queryset.filter(**{column: self.value()}) if self.value() else queryset


class ChoicesFilter(MultipleDropdownFilter):
    """Some of the choices of a column at once."""

    column = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return _choices_of(self, model_admin)

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> Any:
        """Narrow to the chosen values."""
        column = self.column or self.parameter_name
        wanted = [word for word in request.GET.getlist(str(self.parameter_name)) if word]
        return queryset.filter(**{f"{column}__in": wanted}) if wanted else queryset


class MomentsFilter(RangeDateTimeFilter):
    """From one moment to another, in UTC."""

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> Any:
        """Narrow by the bounds that can be read."""
        for word, lookup in (("from", "gte"), ("to", "lte")):
            parts = [self.used_parameters.get(f"{self.parameter_name}_{word}_{n}") for n in (0, 1)]
            moment = parse_datetime_str(" ".join(part for part in parts if part))
            if moment is not None:
                queryset = queryset.filter(
                    **{f"{self.parameter_name}__{lookup}": moment.replace(tzinfo=UTC)}
                )
        return queryset


class VisibleRelatedFilter(RelatedDropdownFilter):
    """Offers only rows the person may see."""

    def field_choices(
        self, field: Any, request: HttpRequest, model_admin: Any
    ) -> list[tuple[Any, str]]:
        """Return the visible rows as choices."""
        rows = field.related_model._default_manager.visible_to(principal_of(request))
        return [(row.pk, str(row)) for row in rows[: limits.PAGE_SIZE_MAX]]


def parameters_of(item: Any) -> list[str]:
    """Return the names under which a filter of a list stands in the address."""
    if isinstance(item, type):
        return [str(getattr(item, "parameter_name", ""))]
    field = item if isinstance(item, str) else item[0]
    bounds = [f"{field}_{word}_{part}" for word in ("from", "to") for part in (0, 1)]
    return [field, f"{field}__exact", f"{field}__id__exact", f"{field}__isnull", *bounds]


class VisibleAutocompleteForm(AutocompleteDropdownForm):
    """The box of a filter with suggestions; it names the chosen row only to who may see it."""

    def __init__(self, request: HttpRequest, name: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, name, *args, **kwargs)
        field: Any = self.fields[name]
        field.queryset = field.queryset.visible_to(principal_of(request))


class VisibleAutocompleteFilter(AutocompleteSelectFilter):
    """Suggests and shows only rows the person may see."""

    form_class = VisibleAutocompleteForm

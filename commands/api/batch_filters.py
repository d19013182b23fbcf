from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters

from commands.models import BatchTarget, Command, CommandBatch
from commands.services.batch_progress import SKIPPED, STATUSES, WAITING
from common import limits


class BatchFilter(filters.FilterSet):
    """Narrow a list of batches."""

    status = filters.MultipleChoiceFilter(choices=CommandBatch.Status.choices)
    origin = filters.MultipleChoiceFilter(choices=CommandBatch.Origin.choices)
    type = filters.CharFilter(field_name="kind", max_length=32)

    class Meta:
        model = CommandBatch
        fields: list[str] = []


class BatchTargetFilter(filters.FilterSet):
    """Narrow the devices of a batch."""

    wave = filters.NumberFilter(min_value=0, max_value=limits.BATCH_WAVES)
    status = filters.MultipleChoiceFilter(
        choices=[(one, one.replace("_", " ")) for one in STATUSES], method="being"
    )
    skipped = filters.BooleanFilter(method="left_out")

    class Meta:
        model = BatchTarget
        fields: list[str] = []

    def being(
        self, targets: QuerySet[BatchTarget], _name: str, wanted: list[str]
    ) -> QuerySet[BatchTarget]:
        """Return targets whose command is in one of the states, or that have none yet."""
        known = [one for one in wanted if one in Command.Status.values]
        found = Q(command__status__in=known)
        if WAITING in wanted:
            found |= Q(command__isnull=True, skipped="")
        if SKIPPED in wanted:
            found |= ~Q(skipped="")
        return targets.filter(found)

    def left_out(
        self, targets: QuerySet[BatchTarget], _name: str, wanted: object
    ) -> QuerySet[BatchTarget]:
        """Return targets that take no part, or those that do."""
        return targets.exclude(skipped="") if wanted else targets.filter(skipped="")

from django_filters import rest_framework as filters

from commands.models import Command
from common.filters import MomentFilter


class CommandFilter(filters.FilterSet):
    """Narrow a list of commands. Moments are RFC 3339."""

    status = filters.MultipleChoiceFilter(choices=Command.Status.choices)
    type = filters.CharFilter(field_name="kind", max_length=32)
    device_id = filters.CharFilter(field_name="device__device_id", max_length=64)
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Command
        fields: list[str] = []

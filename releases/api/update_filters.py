from django_filters import rest_framework as filters

from common.filters import MomentFilter
from releases.models import DeviceUpdate


class UpdateFilter(filters.FilterSet):
    """Narrow a list of updates. Moments are RFC 3339."""

    status = filters.MultipleChoiceFilter(choices=DeviceUpdate.Status.choices)
    kind = filters.MultipleChoiceFilter(choices=DeviceUpdate.Kind.choices)
    failure_class = filters.MultipleChoiceFilter(choices=DeviceUpdate.FailureClass.choices)
    to_version = filters.CharFilter(max_length=64)
    rollout = filters.UUIDFilter(field_name="rollout_id")
    since = MomentFilter(field_name="scheduled_at", lookup_expr="gte")
    until = MomentFilter(field_name="scheduled_at", lookup_expr="lt")

    class Meta:
        model = DeviceUpdate
        fields: list[str] = []

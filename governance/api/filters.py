from typing import Any

from django.db.models import Q
from django_filters import rest_framework as filters

from audit.models import AuditEntry
from common.filters import MomentFilter


class AuditFilter(filters.FilterSet):
    """Narrow the log; the explorer, the API and the export read the same names."""

    actor = filters.CharFilter(lookup_expr="icontains", max_length=255)
    actor_type = filters.CharFilter(max_length=16)
    action = filters.CharFilter(max_length=64)
    target_type = filters.CharFilter(max_length=64)
    target_id = filters.CharFilter(max_length=64)
    target = filters.CharFilter(lookup_expr="icontains", max_length=255)
    deviceId = filters.CharFilter(max_length=64, method="about_device", label="Device id")  # noqa: N815
    request_id = filters.CharFilter(max_length=64)
    since = MomentFilter(field_name="at", lookup_expr="gte")
    until = MomentFilter(field_name="at", lookup_expr="lt")

    class Meta:
        model = AuditEntry
        fields: list[str] = []

    def about_device(self, entries: Any, _name: str, value: str) -> Any:
        """Acts on the device itself and on its commands and bundles."""
        return entries.filter(Q(target_type="device", target=value) | Q(after__device=value))

from django_filters import rest_framework as filters

from common.filters import MomentFilter
from devices.models import Device, DeviceEvent, Heartbeat


class DeviceFilter(filters.FilterSet):
    """Narrow a list of devices. Moments are RFC 3339."""

    status = filters.MultipleChoiceFilter(field_name="state__health", choices=Device.Health.choices)
    lifecycle = filters.MultipleChoiceFilter(choices=Device.Lifecycle.choices)
    segment = filters.MultipleChoiceFilter(choices=Device.Segment.choices)
    role = filters.CharFilter(max_length=64)
    branch = filters.CharFilter(max_length=64)
    platform = filters.CharFilter(max_length=64)
    site = filters.CharFilter(max_length=120)
    version = filters.CharFilter(field_name="state__version", max_length=64)
    tag = filters.CharFilter(field_name="tags", lookup_expr="contains", method="having_tag")
    group = filters.CharFilter(field_name="groups__name", max_length=120)
    maintenance_mode = filters.BooleanFilter()
    seen_after = MomentFilter(field_name="state__last_seen", lookup_expr="gte")
    seen_before = MomentFilter(field_name="state__last_seen", lookup_expr="lt")

    class Meta:
        model = Device
        fields: list[str] = []

    def having_tag(self, devices: object, _name: str, value: str) -> object:
        """Devices that carry the tag."""
        return devices.filter(tags__contains=[value])  # type: ignore[attr-defined]


class HeartbeatFilter(filters.FilterSet):
    """Heartbeats of a span of time."""

    after = MomentFilter(field_name="at", lookup_expr="gte")
    before = MomentFilter(field_name="at", lookup_expr="lt")

    class Meta:
        model = Heartbeat
        fields: list[str] = []


class EventFilter(filters.FilterSet):
    """Events by kind, severity and time."""

    event_type = filters.CharFilter(field_name="kind", max_length=32)
    severity = filters.MultipleChoiceFilter(choices=DeviceEvent.Severity.choices)
    after = MomentFilter(field_name="at", lookup_expr="gte")
    before = MomentFilter(field_name="at", lookup_expr="lt")

    class Meta:
        model = DeviceEvent
        fields: list[str] = []

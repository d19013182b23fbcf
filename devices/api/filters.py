from typing import Any

from django_filters import rest_framework as filters

from common import clock
from common.filters import MomentFilter
from devices.models import Device, DeviceEvent, DriftReport, Heartbeat


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
    safe_mode = filters.BooleanFilter()
    locked = filters.BooleanFilter(
        method="having_lock", label="A version lock is in force (true) or not (false)."
    )
    lock_stale = filters.BooleanFilter(
        method="having_stale_lock", label="A version lock has run out (true) or not (false)."
    )
    seen_after = MomentFilter(field_name="state__last_seen", lookup_expr="gte")
    seen_before = MomentFilter(field_name="state__last_seen", lookup_expr="lt")

    class Meta:
        model = Device
        fields: list[str] = []

    def having_tag(self, devices: object, _name: str, value: str) -> object:
        """Devices that carry the tag."""
        return devices.filter(tags__contains=[value])  # type: ignore[attr-defined]

    def having_lock(self, devices: Any, _name: str, value: object) -> object:
        """Devices whose version lock is in force, or all others."""
        return _those(devices, devices.locked(clock.now()), wanted=value)

    def having_stale_lock(self, devices: Any, _name: str, value: object) -> object:
        """Devices whose version lock has run out, or all others."""
        return _those(devices, devices.lock_stale(clock.now()), wanted=value)


def _those(devices: Any, of: Any, *, wanted: object) -> Any:
    return of if wanted else devices.exclude(pk__in=of.values("pk"))


class DriftFilter(filters.FilterSet):
    """Drift reports by device, release, and whether they are open."""

    device = filters.CharFilter(field_name="device__device_id", max_length=64)
    release = filters.CharFilter(max_length=64)
    role = filters.CharFilter(field_name="device__role", max_length=64)
    site = filters.CharFilter(field_name="device__site", max_length=120)
    open = filters.BooleanFilter(field_name="resolved_at", lookup_expr="isnull")
    repaired = filters.BooleanFilter(
        field_name="repair_command_id", lookup_expr="isnull", exclude=True
    )
    after = MomentFilter(field_name="last_at", lookup_expr="gte")
    before = MomentFilter(field_name="last_at", lookup_expr="lt")

    class Meta:
        model = DriftReport
        fields: list[str] = []


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

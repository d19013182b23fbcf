"""The list of devices as a file."""

from typing import Any

from import_export import fields, resources

from common.csv_cells import safe_cell
from devices.models import Device

STATE = [
    "health", "health_since", "last_seen", "version", "agent_version", "commit", "uptime_seconds",
    "cpu_percent", "mem_percent", "disk_percent", "disk_free_gb", "temperature_c",
    "containers_running", "containers_failed",
]  # fmt: skip
OWN = [
    "device_id", "name", "lifecycle", "hostname", "platform", "arch", "role", "branch", "segment",
    "ip_address", "serial", "hardware_profile", "owner", "site", "latitude", "longitude", "tags",
    "maintenance_mode", "update_enabled", "safe_mode", "version_lock", "target_version",
    "enrolled_by", "created_at", "retired_at",
]  # fmt: skip


class Cell(fields.Field):
    """A value as text that no spreadsheet takes for a formula."""

    def export(self, instance: Any, **_kwargs: Any) -> str:
        """Return the cell."""
        value = self.get_value(instance)
        if isinstance(value, list):
            value = ", ".join(value)
        return safe_cell(value.isoformat() if hasattr(value, "isoformat") else value)


class DeviceResource(resources.ModelResource):
    """What a device is, and its latest state. Export only."""

    class Meta:
        model = Device
        fields: list[str] = []

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fields = {
            **{name: Cell(attribute=name, column_name=name) for name in OWN},
            **{name: Cell(attribute=f"state__{name}", column_name=name) for name in STATE},
        }

    def get_export_order(self, selected_fields: Any = None) -> list[str]:
        """Keep the order of the columns above."""
        return [*OWN, *STATE]

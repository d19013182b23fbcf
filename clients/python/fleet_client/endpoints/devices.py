"""Devices."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Optional, Union

from fleet_client.binding import Group, endpoint, listing
from fleet_client.core import given, segment
from fleet_client.models import Device, DeviceEvent, DeviceUpdate, Heartbeat, Metrics
from fleet_client.records import Page
from fleet_client.steps import Flow, Items

Moment = Union[datetime, str]


def device_path(device_id: str, rest: str = "") -> str:
    """Return the path of a device, or of something below it."""
    return f"/devices/{segment(device_id)}{rest}"


class DeviceEndpoints(Group):
    """`client.devices`. Filters are those of the API: `status`, `role`, `tag`, `search`, …"""

    @endpoint
    def list(self, /, **filters: Any) -> Flow[Page[Device]]:
        """Return one page: also `page`, `page_size`, `ordering`."""
        return self.core.page(Device, "/devices", params=filters)

    @listing
    def iterate(self, /, **filters: Any) -> Items[Device]:
        """Give every device, page by page."""
        return self.core.pages(Device, "/devices", params=filters)

    @endpoint
    def get(self, device_id: str) -> Flow[Device]:
        """Return everything known of a device."""
        return self.core.read(Device, "GET", device_path(device_id))

    @endpoint
    def update(
        self, /, device_id: str, *, idempotency_key: Optional[str] = None, **fields: Any
    ) -> Flow[Device]:
        """Write the fields that are given, and no other."""
        return self.core.read(
            Device, "PATCH", device_path(device_id), body=fields, key=idempotency_key
        )

    @endpoint
    def accept(self, device_id: str, *, idempotency_key: Optional[str] = None) -> Flow[None]:
        """Let a pending device in."""
        yield from self.core.ask("POST", device_path(device_id, "/accept"), key=idempotency_key)

    @endpoint
    def reject(self, device_id: str, *, idempotency_key: Optional[str] = None) -> Flow[None]:
        """Turn a pending device away."""
        yield from self.core.ask("POST", device_path(device_id, "/reject"), key=idempotency_key)

    @endpoint
    def retire(self, device_id: str, *, idempotency_key: Optional[str] = None) -> Flow[None]:
        """End a device's tokens; its history stays."""
        yield from self.core.ask("DELETE", device_path(device_id), key=idempotency_key)

    @endpoint
    def set_status(
        self,
        device_id: str,
        status: Optional[str],
        *,
        reason: Optional[str] = None,
        expires_in_s: Optional[int] = None,
        idempotency_key: Optional[str] = None,
    ) -> Flow[None]:
        """Show this health whatever the device says; None lifts it."""
        body = {"status": status, **given(reason=reason, expires_in_s=expires_in_s)}
        path = device_path(device_id, "/status")
        yield from self.core.ask("PATCH", path, body=body, key=idempotency_key)

    @listing
    def heartbeats(self, /, device_id: str, **filters: Any) -> Items[Heartbeat]:
        """Give the stored heartbeats, newest first: `after`, `before`, `page_size`."""
        return self.core.pages(Heartbeat, device_path(device_id, "/heartbeats"), params=filters)

    @listing
    def events(self, /, device_id: str, **filters: Any) -> Items[DeviceEvent]:
        """Give the history, newest first: `event_type`, `severity`, `after`, `before`."""
        return self.core.pages(DeviceEvent, device_path(device_id, "/events"), params=filters)

    @listing
    def updates(self, /, device_id: str, **filters: Any) -> Items[DeviceUpdate]:
        """Give the updates, newest first: `status`, `kind`, `to_version`, `rollout`, `since`."""
        return self.core.pages(DeviceUpdate, device_path(device_id, "/updates"), params=filters)

    @endpoint
    def metrics(
        self,
        device_id: str,
        metric: str = "cpu_percent",
        *,
        since: Optional[Moment] = None,
        until: Optional[Moment] = None,
        step: Optional[int] = None,
    ) -> Flow[Metrics]:
        """Return a metric in buckets of `step` seconds: average, least, most, 95th percentile."""
        params = {"metric": metric, "from": since, "to": until, "step": step}
        return self.core.read(Metrics, "GET", device_path(device_id, "/metrics"), params=params)

"""Updates of single devices."""

from __future__ import annotations

from typing import Union

from fleet_client.binding import Group, endpoint
from fleet_client.core import segment
from fleet_client.models import DeviceUpdate
from fleet_client.steps import Flow


class UpdateEndpoints(Group):
    """`client.updates`. Those of a device are listed by `client.devices.updates`."""

    @endpoint
    def get(self, update_id: Union[int, str]) -> Flow[DeviceUpdate]:
        """Return an update with every step of it."""
        return self.core.read(DeviceUpdate, "GET", f"/updates/{segment(update_id)}")

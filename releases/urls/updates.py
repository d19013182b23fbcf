from typing import Any

from django.urls import path

from devices import converters  # noqa: F401 - makes <device:…> known
from releases.api import timeline, updates

UPDATES: list[Any] = [
    path(
        "devices/<device:device_id>/updates",
        updates.DeviceUpdates.as_view(),
        name="device-updates",
    ),
    path(
        "telemetry/devices/<device:device_id>",
        timeline.DeviceTimeline.as_view(),
        name="device-timeline",
    ),
    path("updates/<int:pk>", updates.UpdateDetail.as_view(), name="update"),
]

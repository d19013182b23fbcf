from typing import Any

from django.urls import path

from devices import converters  # noqa: F401 - makes <device:…> known
from releases.api import drift, recovery

RECOVERY: list[Any] = [
    path("drift/<uuid:pk>/repair", drift.RepairDrift.as_view(), name="drift-repair"),
    path("recovery/<device:device_id>/exit", recovery.ExitRecovery.as_view(), name="recovery-exit"),
    path(
        "recovery/<device:device_id>/redeploy",
        recovery.Redeploy.as_view(),
        name="recovery-redeploy",
    ),
    path(
        "recovery/<device:device_id>/quarantine",
        recovery.Quarantine.as_view(),
        name="recovery-quarantine",
    ),
    path(
        "recovery/<device:device_id>/quarantine/end",
        recovery.EndQuarantine.as_view(),
        name="recovery-quarantine-end",
    ),
]

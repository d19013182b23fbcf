"""Failures that are asked for: tests of the whole chain. Nothing here works unless switched on."""

from datetime import datetime
from typing import Any

from devices.models import Device


def chaos_of(device: Device, *, now: datetime) -> dict[str, Any]:
    """Return what the device is asked to do wrong with its next update; empty as a rule."""
    return {}

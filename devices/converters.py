"""Device ids in paths: what has another shape names nothing."""

from django.urls import register_converter

from common import limits


class DeviceIdConverter:
    """`<device:device_id>`."""

    regex = limits.DEVICE_ID_PATTERN.strip("^$")

    def to_python(self, value: str) -> str:
        """Return the id as it stands."""
        return value

    def to_url(self, value: str) -> str:
        """Return the id as it stands."""
        return value


register_converter(DeviceIdConverter, "device")

"""What the service says of itself."""

from tests.routes.shapes import get

SERVICE = [
    get("service-status"),
    get("service-metrics"),
    get("service-system-info"),
]

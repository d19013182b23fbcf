"""What Prometheus learns of the fleet itself. No label names a tenant or a device."""

from collections.abc import Iterator

from django.db import DatabaseError
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from common import clock
from devices.selectors import installation_health_counts
from devices.services.upkeep import pulse_age
from releases.selectors.progress import installation_rollout_counts

PARTS = ["gateway", "worker", "beat"]


class FleetCollector(Collector):
    """Counts devices by health and asks the portal's parts for their age, at each scrape."""

    def describe(self) -> list[Metric]:
        """Name nothing ahead: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Give the gauges; without a database there are none, and the scrape still works."""
        try:
            counts = installation_health_counts()
            now = clock.now()
            ages = {name: pulse_age(name=name, now=now) for name in PARTS}
            rollouts = installation_rollout_counts()
        except DatabaseError:
            return
        devices = GaugeMetricFamily("fleet_devices", "Devices by health.", labels=["health"])
        for health, count in counts.items():
            devices.add_metric([health], count)
        yield devices
        unended = GaugeMetricFamily(
            "fleet_rollouts", "Rollouts that have not ended, by status.", labels=["status"]
        )
        for status, count in rollouts.items():
            unended.add_metric([status], count)
        yield unended
        pulses = GaugeMetricFamily(
            "fleet_pulse_age_seconds", "Seconds since a part's last sign of life.", labels=["part"]
        )
        for name, age in ages.items():
            if age is not None:
                pulses.add_metric([name], age)
        yield pulses

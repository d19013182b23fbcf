"""`fleet devices`."""

from __future__ import annotations

from typing import Any, Optional, Tuple

import click

from fleet_client.cli.context import Program, command, first
from fleet_client.cli.tables import ago, facts, table
from fleet_client.models import Device


@click.group()
def devices() -> None:
    """Devices and what they measure."""


@command(devices, "list")
@click.option("--status", multiple=True, help="healthy, degraded, failed, offline, unknown.")
@click.option("--role", help="Of this role.")
@click.option("--tag", help="With this tag.")
@click.option("--group", help="Of this group.")
@click.option("--version", "release", help="Running this version.")
@click.option("--search", help="In id, name, host name and serial.")
@click.option("--limit", type=click.IntRange(0), default=0, help="At most so many; 0 for all.")
def list_devices(
    program: Program, status: Tuple[str, ...], release: Optional[str], limit: int, **filters: Any
) -> None:
    """List devices."""
    rows = program.client.devices.iterate(status=status, version=release, **filters)
    headings = ("device", "name", "status", "lifecycle", "version", "role", "seen")
    program.records(
        first(rows, limit),
        headings,
        lambda d: (d.device_id, d.name, d.status, d.lifecycle, d.version, d.role, ago(d.last_seen)),
    )


@command(devices, "show")
@click.argument("device_id")
def show_device(program: Program, device_id: str) -> None:
    """Show a device."""
    device = program.client.devices.get(device_id)
    program.record(device, facts(_facts(device)))


def _facts(device: Device) -> list[tuple[str, Any]]:
    latest = device.latest
    found: list[tuple[str, Any]] = [
        ("device", device.device_id),
        ("name", device.name),
        ("status", device.status),
        ("lifecycle", device.lifecycle),
        ("last seen", f"{ago(device.last_seen)} ({device.last_seen or '-'})"),
        ("version", device.version),
        ("target version", device.target_version),
        ("host", device.hostname),
        ("platform", f"{device.platform} {device.arch}".strip()),
        ("role", device.role),
        ("segment", device.segment),
        ("address", device.ip_address),
        ("site", device.site),
        ("tags", device.tags),
        ("groups", device.groups),
        ("maintenance", device.maintenance_mode),
    ]
    if latest:
        found += [
            ("processor %", latest.cpu_percent),
            ("memory %", latest.mem_percent),
            ("disk %", latest.disk_percent),
            ("disk free GB", latest.disk_free_gb),
            ("temperature °C", latest.temperature_c),
        ]
    return found


@command(devices, "metrics")
@click.argument("device_id")
@click.option("--metric", default="cpu_percent", show_default=True, help="What was measured.")
@click.option("--since", help="From this moment (RFC 3339).")
@click.option("--until", help="Up to this moment (RFC 3339).")
@click.option("--step", type=click.IntRange(1), help="Seconds of a bucket.")
def device_metrics(program: Program, device_id: str, **query: Any) -> None:
    """Show a metric in buckets."""
    metrics = program.client.devices.metrics(device_id, **query)
    rows = [(p.at, p.count, p.avg, p.min, p.max, p.p95) for p in metrics.points]
    program.record(metrics, table(("at", "count", "avg", "min", "max", "p95"), rows))

"""`fleet audits`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fleet_client.cli.bundles import Meter
from fleet_client.cli.context import Program, command, first, options


@click.group()
def audits() -> None:
    """Who did what."""


# The filters of the log.
narrowing = options(
    click.option("--actor", help="Whose acts; a part of the name is enough."),
    click.option("--action", help="Such as command.queue."),
    click.option("--target-type", help="Such as device."),
    click.option("--device", "deviceId", help="About this device."),
    click.option("--since", help="From this moment (RFC 3339)."),
    click.option("--until", help="Up to this moment (RFC 3339)."),
)


@command(audits, "list")
@narrowing
@click.option("--limit", type=click.IntRange(0), default=50, help="At most so many; 0 for all.")
def list_audits(program: Program, limit: int, **filters: Any) -> None:
    """List entries, newest first."""
    program.records(
        first(program.client.audits.iterate(**_own(filters)), limit),
        ("seq", "at", "actor", "action", "target"),
        lambda e: (e.seq, e.at, e.actor, e.action, f"{e.target_type} {e.target}"),
    )


@command(audits, "export")
@click.argument("path", type=click.Path(path_type=Path))
@narrowing
def export(program: Program, path: Path, **filters: Any) -> None:
    """Save the log as CSV, in the order of its chain."""
    with Meter(program, path.name) as meter:
        saved = program.client.audits.export(path, on_progress=meter, **_own(filters))
    program.note(f"Saved {saved}.")


def _own(filters: Any) -> Any:
    # click makes the names of parameters lower-case.
    return {"deviceId" if name == "deviceid" else name: value for name, value in filters.items()}

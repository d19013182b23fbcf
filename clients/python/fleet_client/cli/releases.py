"""`fleet releases`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Optional, Tuple

import click

from fleet_client.cli.bundles import Meter
from fleet_client.cli.context import FAILED, REFUSED, Program, command, first
from fleet_client.cli.tables import ago, facts, table
from fleet_client.models import Release

FINDINGS = ("severity", "rule", "file", "message")


@click.group()
def releases() -> None:
    """Releases: declare, upload, validate, publish, withdraw."""


@command(releases, "list")
@click.option("--state", multiple=True, help="draft, validated, published or withdrawn.")
@click.option("--channel", help="In this channel.")
@click.option("--role", help="For devices of this role.")
@click.option("--limit", type=click.IntRange(0), default=50, help="At most so many; 0 for all.")
def list_releases(program: Program, state: Tuple[str, ...], limit: int, **filters: Any) -> None:
    """List releases, newest first."""
    program.records(
        first(program.client.releases.iterate(state=state, **filters), limit),
        ("version", "commit", "roles", "channel", "state", "created"),
        lambda r: (
            r.version,
            r.commit[:12],
            ", ".join(r.roles) or "every",
            r.channel,
            r.state,
            ago(r.created_at),
        ),
    )


@command(releases, "latest")
@click.option("--role", help="For devices of this role.")
@click.option("--channel", help="In this channel; stable by default.")
def latest(program: Program, role: Optional[str], channel: Optional[str]) -> None:
    """Print the version published last."""
    found = program.client.releases.latest(role=role, channel=channel)
    program.record(found, found.version)


@command(releases, "show")
@click.argument("version")
def show(program: Program, version: str) -> None:
    """Show a release, its bundles and what validation found."""
    release = program.client.releases.get(version)
    program.record(release, _text(release))


def _text(release: Release) -> str:
    text = facts(
        [
            ("version", release.version),
            ("commit", release.commit),
            ("roles", ", ".join(release.roles) or "every"),
            ("channel", release.channel),
            ("state", release.state),
            ("withdrawn", release.withdrawn_reason),
        ]
    )
    bundles = [(one.role, one.status, one.size, one.sha256) for one in release.artifacts]
    if bundles:
        text += "\n\n" + table(("bundle", "status", "bytes", "sha256"), bundles)
    return text + _findings(release)


def _findings(release: Release) -> str:
    rows = [(one.severity, one.rule, one.path, one.message) for one in release.findings]
    return "\n\n" + table(FINDINGS, rows) if rows else ""


@command(releases, "create")
@click.argument("version")
@click.argument("commit")
@click.option("--role", "roles", multiple=True, help="For this role; every role by default.")
@click.option("--channel")
@click.option("--changelog")
def create(program: Program, version: str, commit: str, **members: Any) -> None:
    """Declare a release."""
    made = program.client.releases.create(version, commit, **members)
    program.record(made, f"{made.version} {made.state}")


@command(releases, "upload")
@click.argument("version")
@click.argument("path", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--role", default="any", help="Whom the bundle is for; every role by default.")
def upload(program: Program, version: str, path: Path, role: str) -> None:
    """Send a bundle; a broken upload is continued by the same line again."""
    with Meter(program, path.name) as meter:
        stored = program.client.releases.upload(version, path, role=role, on_progress=meter)
    program.record(stored, f"{stored.status} {stored.sha256}")


@command(releases, "validate")
@click.argument("version")
def validate(program: Program, version: str) -> None:
    """Check the bundles of a release; ends with 4 when there is an error."""
    release = program.client.releases.validate(version)
    program.record(release, f"{release.version} {release.state}{_findings(release)}")
    if release.state != "validated":
        sys.exit(REFUSED)


@command(releases, "publish")
@click.argument("version")
def publish(program: Program, version: str) -> None:
    """Make a validated release final."""
    release = program.client.releases.publish(version)
    program.record(release, f"{release.version} {release.state}")


@command(releases, "withdraw")
@click.argument("version")
@click.option("--reason", required=True)
def withdraw(program: Program, version: str, reason: str) -> None:
    """Let no device get a release any more."""
    release = program.client.releases.withdraw(version, reason)
    program.record(release, f"{release.version} {release.state}")


@command(releases, "eligibility")
@click.argument("version")
@click.argument("device_id")
def eligibility(program: Program, version: str, device_id: str) -> None:
    """Say which gates keep a device from a release; status 1 when one does."""
    found = program.client.releases.eligibility(version, device_id)
    rows = [
        ("open" if gate.passed else "closed", gate.gate, gate.seen, gate.wanted, gate.changes_at)
        for gate in found.gates
    ]
    program.record(found, table(("", "gate", "seen", "wanted", "can change at"), rows))
    if not found.eligible:
        closed = ", ".join(gate.gate for gate in found.closed)
        program.note(f"{device_id} does not get {version} now: {closed}")
        sys.exit(FAILED)

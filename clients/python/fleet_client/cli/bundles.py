"""`fleet bundles`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Dict, Iterable, Optional

import click

from fleet_client.cli.commands import on_terminal
from fleet_client.cli.context import Program, command, first
from fleet_client.cli.tables import ago, facts, table
from fleet_client.models import Bundle, Line


@click.group()
def bundles() -> None:
    """Support bundles and what was found in them."""


@command(bundles, "request")
@click.argument("device_id")
@click.option("--logs/--no-logs", "include_logs", default=None)
@click.option("--config/--no-config", "include_config", default=None)
@click.option("--containers/--no-containers", "include_containers", default=None)
@click.option("--state/--no-state", "include_state", default=None)
def request(program: Program, device_id: str, **parts: Optional[bool]) -> None:
    """Ask a device for a bundle; prints the command that does."""
    payload: Dict[str, Any] = {name: part for name, part in parts.items() if part is not None}
    queued = program.client.bundles.request(device_id, payload=payload)
    program.record(queued, queued.id)


@command(bundles, "list")
@click.option("--device", "device_id", help="Of this device.")
@click.option("--limit", type=click.IntRange(0), default=50, help="At most so many; 0 for all.")
def list_bundles(program: Program, device_id: Optional[str], limit: int) -> None:
    """List bundles, newest first."""
    program.records(
        first(program.client.bundles.iterate(device_id=device_id), limit),
        ("bundle", "device", "status", "bytes", "created"),
        lambda b: (b.id, b.device_id, b.status, b.kept_size or b.size, ago(b.created_at)),
    )


@command(bundles, "show")
@click.argument("bundle_id")
def show_bundle(program: Program, bundle_id: str) -> None:
    """Show a bundle and its files."""
    bundle = program.client.bundles.get(bundle_id)
    rows = [(file.path, file.kind, file.size, file.lines) for file in bundle.manifest]
    text = facts(_facts(bundle))
    if rows:
        text += "\n\n" + table(("file", "kind", "bytes", "lines"), rows)
    program.record(bundle, text)


def _facts(bundle: Bundle) -> list[tuple[str, Any]]:
    return [
        ("bundle", bundle.id),
        ("device", bundle.device_id),
        ("command", bundle.command_id),
        ("status", bundle.status),
        ("error", bundle.error),
        ("created", bundle.created_at),
        ("findings", len(bundle.findings)),
        ("redactions", len(bundle.redactions)),
    ]


@command(bundles, "findings")
@click.argument("bundle_id")
def show_findings(program: Program, bundle_id: str) -> None:
    """Show what the rules saw, the worst first."""
    program.records(
        program.client.bundles.findings(bundle_id),
        ("severity", "rule", "message", "file", "line", "count"),
        lambda f: (f.severity, f.rule, f.message, f.path, f.line, f.count),
    )


@command(bundles, "cat")
@click.argument("bundle_id")
@click.argument("path")
@click.option("--offset", type=click.IntRange(0), help="Begin with this line, from 0.")
@click.option("--limit", type=click.IntRange(1), help="At most so many lines.")
@click.option("--tail", type=click.IntRange(1), help="The last lines only.")
def cat(
    program: Program,
    *,
    bundle_id: str,
    path: str,
    offset: Optional[int],
    limit: Optional[int],
    tail: Optional[int],
) -> None:
    """Print a text file of a bundle."""
    files = program.client.bundles
    if program.is_json:
        program.json(files.file(bundle_id, path, offset=offset, limit=limit, tail=tail).raw)
        return
    lines: Iterable[Line] = files.lines(bundle_id, path, offset=offset or 0)
    if tail:
        lines = files.file(bundle_id, path, tail=tail).lines
    for line in first(lines, limit or 0):
        click.echo(on_terminal(line.text))


@command(bundles, "search")
@click.argument("bundle_id")
@click.argument("text")
@click.option("--path", help="In this file only.")
def search(program: Program, bundle_id: str, text: str, path: Optional[str]) -> None:
    """Print the lines that hold a text."""
    found = program.client.bundles.search(bundle_id, text, path=path)
    if program.is_json:
        program.json(found.raw)
        return
    for match in found.matches:
        click.echo(on_terminal(f"{match.path}:{match.line}: {match.text}"))
    if found.is_cut:
        program.note("There is more than is shown; search for something rarer.")


@command(bundles, "download")
@click.argument("bundle_id")
@click.argument("path", required=False, type=click.Path(path_type=Path))
def download(program: Program, bundle_id: str, path: Optional[Path]) -> None:
    """Save a bundle's archive; a broken download is continued by the same line again."""
    target = path or Path(f"{bundle_id}.zip")
    with Meter(program, target.name) as meter:
        program.client.bundles.download(bundle_id, target, on_progress=meter)
    program.note(f"Saved {target}.")


class Meter:
    """Shows on a terminal how far a file has come."""

    def __init__(self, program: Program, name: str) -> None:
        self._program = program
        self._name = name
        self._bar: Any = None
        self._done = 0

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.render_finish()

    def __call__(self, done: int, total: Optional[int]) -> None:
        if self._program.is_quiet or total is None:
            return
        if self._bar is None:
            self._bar = click.progressbar(length=total, label=self._name, file=sys.stderr)
        self._bar.update(done - self._done)
        self._done = done

"""`fleet batches`."""

from __future__ import annotations

import sys
from typing import Any, Dict, List, Optional, Tuple

import click

from fleet_client.cli.commands import given_options, how
from fleet_client.cli.context import FAILED, Program, command, first, json_value, options
from fleet_client.cli.tables import ago, facts, table
from fleet_client.models import Batch

# When it runs: what the portal knows by the same names.
PLAN = ("wave_pause_s", "start_at", "end_at", "end_behavior", "draft")


@click.group()
def batches() -> None:
    """One order to many devices."""


which = options(
    click.option("--device", "devices", multiple=True, help="This device; may be repeated."),
    click.option("--group", help="The devices of this group."),
    click.option("--tag", "tags", multiple=True, help="Devices with every tag named."),
    click.option("--filter", "filters", multiple=True, help="NAME=VALUE, as of devices list."),
)
# Which devices, and the waves they are reached in.
whom = options(
    which,
    click.option("--wave", "waves", multiple=True, help="Size of a wave: 10 or 25%."),
)


def selection_of(
    devices: Tuple[str, ...], group: Optional[str], tags: Tuple[str, ...], filters: Tuple[str, ...]
) -> Dict[str, Any]:
    """Return the selection; a usage error unless it is exactly one."""
    chosen: Dict[str, Any] = {
        "devices": list(devices),
        "group": group,
        "tags": list(tags),
        "filter": _filter(filters),
    }
    chosen = {name: value for name, value in chosen.items() if value}
    if len(chosen) != 1:
        raise click.UsageError(
            "Choose devices by exactly one of --device, --group, --tag, --filter."
        )
    return chosen


def _filter(texts: Tuple[str, ...]) -> Dict[str, Any]:
    found: Dict[str, List[str]] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise click.UsageError(f"--filter {text}: say NAME=VALUE, such as status=offline.")
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def waves_of(texts: Tuple[str, ...]) -> Optional[List[Dict[str, int]]]:
    """Return the waves; None when none was named."""
    return [_wave(text) for text in texts] or None


def _wave(text: str) -> Dict[str, int]:
    number = text[:-1] if text.endswith("%") else text
    if not number.isdecimal():
        raise click.UsageError(f"--wave {text}: say a number of devices or a percentage.")
    return {"percent" if text.endswith("%") else "size": int(number)}


@command(batches, "preview")
@whom
def preview(program: Program, waves: Tuple[str, ...], **chosen: Any) -> None:
    """Show whom a batch would reach."""
    seen = program.client.batches.preview(selection_of(**chosen), waves=waves_of(waves))
    lines = [("devices", seen.count), ("by wave", seen.by_wave), ("first", seen.devices)]
    text = facts(lines)
    if seen.skipped:
        text += "\n\n" + table(("left out", "why"), [(s.device_id, s.reason) for s in seen.skipped])
    program.record(seen, text)


@command(batches, "create")
@click.argument("name")
@click.argument("type_", metavar="TYPE")
@click.option("--payload", callback=json_value, help="JSON object, @file, or @- for input.")
@click.option("--wave-pause", "wave_pause_s", type=int, help="Seconds between waves.")
@click.option("--abort-at", type=click.IntRange(1, 100), help="Stop at so many per cent failed.")
@click.option("--start-at", help="Not before this moment (RFC 3339).")
@click.option("--end-at", help="Not after this moment (RFC 3339).")
@click.option("--end-behavior", type=click.Choice(["stop", "cancel", "force_cancel"]))
@click.option("--draft", is_flag=True, default=None, help="Only prepare it.")
@click.option("--key", help="Idempotency key, to repeat this very call safely.")
@whom
@how
def create(
    program: Program,
    name: str,
    type_: str,
    payload: Optional[Dict[str, Any]],
    waves: Tuple[str, ...],
    key: Optional[str],
    abort_at: Optional[int],
    devices: Tuple[str, ...],
    group: Optional[str],
    tags: Tuple[str, ...],
    filters: Tuple[str, ...],
    **rest: Any,
) -> None:
    """Order the same of many devices."""
    planned = {name: rest.pop(name) for name in PLAN}
    if abort_at is not None:
        rule = {"failure": "all", "threshold_percent": abort_at, "min_completed": 1}
        planned["abort_rules"] = [rule]
    settings: Any = given_options(rest) or None
    batch = program.client.batches.create(
        name,
        type_,
        payload or {},
        selection=selection_of(devices, group, tags, filters),
        options=settings,
        waves=waves_of(waves),
        idempotency_key=key,
        **planned,
    )
    program.record(batch, f"{batch.id} {batch.status}")


@command(batches, "list")
@click.option("--status", multiple=True, help="running, paused, completed, …")
@click.option("--limit", type=click.IntRange(0), default=50, help="At most so many; 0 for all.")
def list_batches(program: Program, status: Tuple[str, ...], limit: int) -> None:
    """List batches, newest first."""
    program.records(
        first(program.client.batches.iterate(status=status), limit),
        ("batch", "name", "type", "status", "created", "by"),
        lambda b: (b.id, b.name, b.type, b.status, ago(b.created_at), b.created_by),
    )


@command(batches, "show")
@click.argument("batch_id")
@click.option("--watch", is_flag=True, help="Follow it to its end; status 1 unless completed.")
@click.option("--timeout", type=float, help="Seconds to watch.")
def show_batch(program: Program, *, batch_id: str, watch: bool, timeout: Optional[float]) -> None:
    """Show a batch and its progress."""
    if watch:
        batch = program.client.batches.wait(
            batch_id, timeout, on_progress=lambda seen: program.note(_progress_line(seen))
        )
    else:
        batch = program.client.batches.get(batch_id)
    text = facts(_facts(batch))
    if batch.failures:
        rows = [(f.count, f.status, f.error_code, f.error, f.devices) for f in batch.failures]
        text += "\n\n" + table(("count", "status", "code", "error", "devices"), rows)
    program.record(batch, text)
    if watch and batch.status != "completed":
        sys.exit(FAILED)


def _facts(batch: Batch) -> list[tuple[str, Any]]:
    return [
        ("batch", batch.id),
        ("name", batch.name),
        ("type", batch.type),
        ("status", batch.status),
        ("reason", batch.reason),
        ("wave", batch.wave if batch.wave >= 0 else None),
        ("progress", _counts(batch)),
        ("created", batch.created_at),
        ("by", batch.created_by),
        ("approved by", batch.approved_by),
        ("started", batch.started_at),
        ("finished", batch.finished_at),
    ]


def _counts(batch: Batch) -> str:
    by_status = batch.progress.get("by_status")
    counts = by_status.items() if isinstance(by_status, dict) else ()
    return ", ".join(f"{name} {count}" for name, count in counts if count)


def _progress_line(batch: Batch) -> str:
    wave = f" wave {batch.wave + 1}" if batch.wave >= 0 else ""
    return f"{batch.status}{wave}: {_counts(batch) or 'nothing begun'}"


@command(batches, "start")
@click.argument("batch_id")
def start(program: Program, batch_id: str) -> None:
    """Start a draft."""
    _show(program, program.client.batches.start(batch_id))


@command(batches, "approve")
@click.argument("batch_id")
@click.option("--reason", required=True, help="Kept in the audit log.")
def approve(program: Program, batch_id: str, reason: str) -> None:
    """Let a batch go that somebody else made."""
    _show(program, program.client.batches.approve(batch_id, reason=reason))


@command(batches, "pause")
@click.argument("batch_id")
@click.option("--reason", help="Kept in the audit log.")
def pause(program: Program, batch_id: str, reason: Optional[str]) -> None:
    """Begin nothing further until resumed."""
    _show(program, program.client.batches.pause(batch_id, reason=reason))


@command(batches, "resume")
@click.argument("batch_id")
@click.option("--reason", help="Kept in the audit log.")
def resume(program: Program, batch_id: str, reason: Optional[str]) -> None:
    """Go on."""
    _show(program, program.client.batches.resume(batch_id, reason=reason))


@command(batches, "cancel")
@click.argument("batch_id")
@click.option("--force", is_flag=True, default=None, help="End what runs, too.")
@click.option("--reason", help="Kept in the audit log.")
def cancel(program: Program, batch_id: str, **how_to: Any) -> None:
    """End a batch."""
    _show(program, program.client.batches.cancel(batch_id, **how_to))


@command(batches, "retry-failed")
@click.argument("batch_id")
def retry_failed(program: Program, batch_id: str) -> None:
    """Make a batch of the devices where this one failed."""
    _show(program, program.client.batches.retry_failed(batch_id))


def _show(program: Program, batch: Batch) -> None:
    program.record(batch, f"{batch.id} {batch.status}")

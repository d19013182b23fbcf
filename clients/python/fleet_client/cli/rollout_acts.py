"""`fleet rollouts`: planning them, and what is done to them."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import click

from fleet_client.cli.batches import selection_of, which
from fleet_client.cli.context import Program, command, json_value
from fleet_client.cli.tables import facts
from fleet_client.core import given
from fleet_client.models import Rollout

because = click.option("--reason", help="Kept in the rollout's story and the audit log.")
because_needed = click.option("--reason", required=True, help="Kept in the story and the log.")


@click.group()
def acts() -> None:
    """Commands that take their place among those of `fleet rollouts`."""


def chosen(**selection: Any) -> Optional[Dict[str, Any]]:
    """Return the selection; None, which is every device of the release's roles, without one."""
    return selection_of(**selection) if any(selection.values()) else None


def stage_of(text: str) -> Dict[str, Any]:
    """Read SEGMENT, SEGMENT:PERCENT or SEGMENT:PERCENT:SOAK_MINUTES."""
    segment, *numbers = text.replace("%", "").split(":")
    if len(numbers) > 2 or not all(number.isdecimal() for number in numbers):
        raise click.UsageError(
            f"--stage {text}: say SEGMENT, SEGMENT:PERCENT or SEGMENT:PERCENT:SOAK_MINUTES."
        )
    return {"segment": segment, **dict(zip(("percentage", "soak_minutes"), map(int, numbers)))}


@command(acts, "preview")
@click.argument("release")
@which
def preview(program: Program, release: str, **selection: Any) -> None:
    """Show whom a rollout of a release would reach."""
    seen = program.client.rollouts.preview(release, chosen(**selection))
    by_segment = ", ".join(f"{name} {count}" for name, count in seen.by_segment.items())
    lines = [("devices", seen.count), ("by segment", by_segment), ("first", seen.devices)]
    program.record(seen, facts(lines))


@command(acts, "create")
@click.argument("release")
@click.option("--name")
@click.option(
    "--stage", "stages", multiple=True, help="SEGMENT[:PERCENT[:SOAK_MINUTES]], in order."
)
@click.option("--holdback", "holdback_percent", type=int, help="Per cent that get nothing.")
@click.option("--rate", "rate_per_minute", type=int, help="Updates begun in a minute, at most.")
@click.option("--concurrency", type=int, help="Updates in flight, at most.")
@click.option("--on-halt", type=click.Choice(["halt", "rollback"]), help="What a rule does.")
@click.option("--auto-promote", is_flag=True, default=None, help="Open the stages by itself.")
@click.option("--plan", callback=json_value, help="Other members: JSON object, @file, or @-.")
@click.option("--start", "starts", is_flag=True, help="Start it, too.")
@click.option("--key", help="Idempotency key, to repeat this very call safely.")
@which
def create(
    program: Program,
    *,
    release: str,
    stages: Tuple[str, ...],
    plan: Optional[Dict[str, Any]],
    starts: bool,
    key: Optional[str],
    devices: Tuple[str, ...],
    group: Optional[str],
    tags: Tuple[str, ...],
    filters: Tuple[str, ...],
    **members: Any,
) -> None:
    """Plan the rollout of a release. It is a draft unless --start is given."""
    named: List[Dict[str, Any]] = [stage_of(text) for text in stages]
    selection = chosen(devices=devices, group=group, tags=tags, filters=filters)
    said = given(selection=selection, stages=named or None, **members)
    rollouts = program.client.rollouts
    rollout = rollouts.create(release, idempotency_key=key, **{**(plan or {}), **said})
    if starts:
        again = f"{key} start" if key else None
        rollout = rollouts.start(rollout.id, idempotency_key=again)
    _show(program, rollout)


@command(acts, "start")
@click.argument("rollout_id")
@because
def start(program: Program, rollout_id: str, reason: Optional[str]) -> None:
    """Freeze its devices and open the first stage."""
    _show(program, program.client.rollouts.start(rollout_id, reason=reason))


@command(acts, "approve")
@click.argument("rollout_id")
@because_needed
def approve(program: Program, rollout_id: str, reason: str) -> None:
    """Let a rollout go that somebody else made."""
    _show(program, program.client.rollouts.approve(rollout_id, reason=reason))


@command(acts, "pause")
@click.argument("rollout_id")
@because
def pause(program: Program, rollout_id: str, reason: Optional[str]) -> None:
    """Begin nothing further until resumed."""
    _show(program, program.client.rollouts.pause(rollout_id, reason=reason))


@command(acts, "resume")
@click.argument("rollout_id")
@because
def resume(program: Program, rollout_id: str, reason: Optional[str]) -> None:
    """Go on; from a halt only with a reason."""
    _show(program, program.client.rollouts.resume(rollout_id, reason=reason))


@command(acts, "promote")
@click.argument("rollout_id")
@click.argument("target", metavar="SEGMENT|PERCENT%")
@click.option("--reason", help="Why before the soak time is over.")
def promote(program: Program, rollout_id: str, target: str, reason: Optional[str]) -> None:
    """Open the stage of a segment, or raise the open one to so many per cent."""
    number = target[:-1] if target.endswith("%") else ""
    if target.endswith("%") and not number.isdecimal():
        raise click.UsageError(f"{target}: say a segment, or a percentage such as 50%.")
    rollout = program.client.rollouts.promote(
        rollout_id,
        None if number else target,
        percentage=int(number) if number else None,
        reason=reason,
    )
    _show(program, rollout)


@command(acts, "halt")
@click.argument("rollout_id")
@because_needed
def halt(program: Program, rollout_id: str, reason: str) -> None:
    """Take back what no device has begun."""
    _show(program, program.client.rollouts.halt(rollout_id, reason=reason))


@command(acts, "rollback")
@click.argument("rollout_id")
@because_needed
def rollback(program: Program, rollout_id: str, reason: str) -> None:
    """End it and bring every updated device back."""
    _show(program, program.client.rollouts.rollback(rollout_id, reason=reason))


def _show(program: Program, rollout: Rollout) -> None:
    program.record(rollout, f"{rollout.id} {rollout.status}")

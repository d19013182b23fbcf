"""`fleet rollouts`: looking at them, and following them to their end."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Optional, Tuple, Union

import click

from fleet_client.cli.context import FAILED, Program, command, first
from fleet_client.cli.tables import ago, cell, facts, table
from fleet_client.errors import plain_text
from fleet_client.following import RolloutNews
from fleet_client.models import Rollout, RolloutEvent, RolloutStanding, UpdateMove


@click.group()
def rollouts() -> None:
    """How a release reaches its devices: plan, start, promote, stop, follow."""


@command(rollouts, "list")
@click.option("--status", multiple=True, help="draft, running, paused, halted, completed, …")
@click.option("--release", help="Of this version.")
@click.option("--limit", type=click.IntRange(0), default=50, help="At most so many; 0 for all.")
def list_rollouts(
    program: Program, status: Tuple[str, ...], release: Optional[str], limit: int
) -> None:
    """List rollouts, newest first."""
    program.records(
        first(program.client.rollouts.iterate(status=status, release=release), limit),
        ("rollout", "release", "name", "status", "devices", "created", "by"),
        lambda r: (r.id, r.release, r.name, r.status, r.total, ago(r.created_at), r.created_by),
    )


@command(rollouts, "show")
@click.argument("rollout_id")
def show_rollout(program: Program, rollout_id: str) -> None:
    """Show a rollout, its stages, its progress and its failures by reason."""
    rollout = program.client.rollouts.get(rollout_id)
    program.record(rollout, text_of(rollout))


@command(rollouts, "events")
@click.argument("rollout_id")
@click.option("--kind", help="Of this kind: start, promote, halt, …")
@click.option("--limit", type=click.IntRange(0), default=50, help="At most so many; 0 for all.")
def events(program: Program, rollout_id: str, kind: Optional[str], limit: int) -> None:
    """List what happened to a rollout, newest first."""
    program.records(
        first(program.client.rollouts.events(rollout_id, kind=kind), limit),
        ("at", "kind", "message"),
        lambda e: (e.at, e.kind, e.message),
    )


@command(rollouts, "wait")
@click.argument("rollout_id")
@click.option("--stage", help="Only until this stage's soak time is over: canary, early, general.")
@click.option("--timeout", type=float, help="Seconds to wait.")
def wait(program: Program, rollout_id: str, stage: Optional[str], timeout: Optional[float]) -> None:
    """Wait for the end; status 1 when it is halted or rolled back."""
    rollout = program.client.rollouts.wait(
        rollout_id,
        timeout,
        stage=stage,
        on_progress=lambda seen: program.note(_line(seen.status, seen.progress.by_state)),
    )
    program.record(rollout, text_of(rollout))
    _leave_by(rollout)


@command(rollouts, "watch")
@click.argument("rollout_id")
@click.option("--devices", is_flag=True, help="Every step of every device, too.")
@click.option("--timeout", type=float, help="Seconds to watch.")
def watch(program: Program, *, rollout_id: str, devices: bool, timeout: Optional[float]) -> None:
    """Print what happens until the end; status 1 when it is halted or rolled back."""
    last: Optional[RolloutStanding] = None
    for news in program.client.rollouts.watch(rollout_id, timeout):
        if isinstance(news, RolloutStanding):
            last = news
        if devices or not isinstance(news, UpdateMove):
            program.record(news, plain_text(_told(news)))
    if last:
        _leave_by(last)


def _leave_by(ended: Union[Rollout, RolloutStanding]) -> None:
    if ended.is_done and ended.status != "completed":
        why = ended.reason or "no reason was given"
        click.echo(plain_text(f"fleet: rollout {ended.id} is {ended.status}: {why}"), err=True)
        sys.exit(FAILED)


def _told(news: RolloutNews) -> str:
    if isinstance(news, RolloutEvent):
        return f"{cell(news.at)} {news.kind}: {news.message}"
    if isinstance(news, RolloutStanding):
        return _line(news.status, news.by_state)
    return " ".join(filter(None, (news.device_id, news.status, news.step, news.error)))


def _line(status: str, by_state: Mapping[str, Any]) -> str:
    return f"{status}: {_counts(by_state) or 'no devices'}"


def _counts(by_state: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(by_state.items()) if count)


def text_of(rollout: Rollout) -> str:
    """Return a rollout as text: facts, stages, failures by reason."""
    text = facts(_facts(rollout))
    if rollout.stages:
        rows = [
            (s.segment, f"{s.percentage}%", s.opened_at, s.soak_ends_at) for s in rollout.stages
        ]
        text += "\n\n" + table(("stage", "of it", "opened", "soak ends"), rows)
    if rollout.failures:
        found = [
            (f.count, f.status, f.failure_class, f.error_code, f.error, f.devices)
            for f in rollout.failures
        ]
        text += "\n\n" + table(("count", "status", "class", "code", "error", "devices"), found)
    return text


def _facts(rollout: Rollout) -> list[tuple[str, Any]]:
    return [
        ("rollout", rollout.id),
        ("name", rollout.name),
        ("release", rollout.release),
        ("status", rollout.status),
        ("reason", rollout.reason),
        ("devices", rollout.total),
        ("progress", _counts(rollout.progress.by_state)),
        ("created", rollout.created_at),
        ("by", rollout.created_by),
        ("approved by", rollout.approved_by),
        ("started", rollout.started_at),
        ("finished", rollout.finished_at),
    ]

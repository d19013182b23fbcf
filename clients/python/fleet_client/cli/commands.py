"""`fleet commands`."""

from __future__ import annotations

import sys
from typing import Any, Dict, Optional, Tuple

import click

from fleet_client.cli.context import FAILED, Program, command, first, json_value, options
from fleet_client.cli.tables import ago, facts, table
from fleet_client.models import Command, Why


@click.group()
def commands() -> None:
    """What devices are told to do."""


# How a command is carried out.
how = options(
    click.option("--priority", help="low, normal, high, urgent, or -100 to 100."),
    click.option("--expires-in", "expires_in_s", type=int, help="Seconds it may wait."),
    click.option("--not-before", help="Hold it back until this moment (RFC 3339)."),
    click.option("--run-timeout", "run_timeout_s", type=int, help="Seconds it may run."),
    click.option("--expect-version", help="Only on a device that runs this version."),
    click.option("--expect-state", help="Only on a device in this health."),
    click.option(
        "--on-mismatch", type=click.Choice(["drop", "wait"]), help="Otherwise: end it, or wait."
    ),
    click.option(
        "--reconnect",
        type=click.Choice(["run", "drop", "ask"]),
        help="If the device was away for long.",
    ),
)


def given_options(options: Dict[str, Any]) -> Dict[str, Any]:
    """Return the options that were given; a priority in digits is a number."""
    found = {name: value for name, value in options.items() if value is not None}
    priority = found.get("priority")
    if priority is not None and priority.lstrip("-").isdecimal():
        found["priority"] = int(priority)
    return found


@command(commands, "queue")
@click.argument("device_id")
@click.argument("type_", metavar="TYPE")
@click.option("--payload", callback=json_value, help="JSON object, @file, or @- for input.")
@click.option("--wait", "waits", is_flag=True, help="Wait for the end; status 1 if it is bad.")
@click.option("--timeout", type=float, help="Seconds to wait.")
@click.option("--key", help="Idempotency key, to repeat this very call safely.")
@how
def queue(
    program: Program,
    *,
    device_id: str,
    type_: str,
    payload: Optional[Dict[str, Any]],
    waits: bool,
    timeout: Optional[float],
    key: Optional[str],
    **options: Any,
) -> None:
    """Queue a command for a device."""
    queued = program.client.commands.queue(
        device_id, type_, payload, idempotency_key=key, **given_options(options)
    )
    if waits:
        _await(program, queued.id, timeout)
    else:
        program.record(queued, queued.id)


@command(commands, "list")
@click.option("--device", "device_id", help="Of this device.")
@click.option("--status", multiple=True, help="queued, running, failed, …")
@click.option("--type", "type", help="Of this type.")
@click.option("--limit", type=click.IntRange(0), default=50, help="At most so many; 0 for all.")
def list_commands(
    program: Program, device_id: Optional[str], status: Tuple[str, ...], limit: int, **filters: Any
) -> None:
    """List commands, newest first."""
    rows = program.client.commands.iterate(device_id=device_id, status=status, **filters)
    program.records(
        first(rows, limit),
        ("command", "device", "type", "status", "attempt", "created", "error"),
        lambda c: (c.id, c.device_id, c.type, c.status, c.attempt, ago(c.created_at), c.error),
    )


@command(commands, "show")
@click.argument("command_id")
def show_command(program: Program, command_id: str) -> None:
    """Show a command and what happened to it."""
    shown = program.client.commands.get(command_id)
    if program.is_json:
        program.json(shown.raw)
        return
    click.echo(facts(_facts(shown)))
    events = program.client.commands.timeline(command_id).events
    rows = [(e.at, e.to_status, e.source, e.attempt, e.code or e.detail) for e in events]
    click.echo("\n" + table(("at", "status", "by", "attempt", "why"), rows))


def _facts(shown: Command) -> list[tuple[str, Any]]:
    return [
        ("command", shown.id),
        ("device", shown.device_id),
        ("type", shown.type),
        ("payload", dict(shown.payload) or None),
        ("status", shown.status),
        ("held", shown.held_reason),
        ("attempt", shown.attempt),
        ("priority", shown.priority),
        ("created", shown.created_at),
        ("by", shown.created_by),
        ("expires", shown.expires_at),
        ("finished", shown.finished_at),
        ("code", shown.error_code),
        ("error", shown.error),
        ("batch", shown.batch_id),
        ("repeats", shown.retry_of),
    ]


@command(commands, "output")
@click.argument("command_id")
@click.option("-f", "--follow", is_flag=True, help="Go on until the command has ended.")
@click.option("--attempt", type=click.IntRange(1), help="Of this attempt; else the newest.")
def show_output(program: Program, *, command_id: str, follow: bool, attempt: Optional[int]) -> None:
    """Print what a command printed."""
    chunks = program.client.commands.output(command_id, attempt=attempt, follow=follow)
    before: Optional[int] = None
    for chunk in chunks:
        if before is not None and chunk.attempt != before:
            program.note(f"-- attempt {chunk.attempt} --")
        before = chunk.attempt
        if program.is_json:
            program.json(chunk.raw)
        else:
            click.echo(on_terminal(chunk.text), nl=False)
    if follow:
        _leave_by(program.client.commands.get(command_id))


def on_terminal(text: str) -> str:
    """Return output without what would command a terminal; files get it as it is."""
    if not sys.stdout.isatty():
        return text
    return "".join(s if s.isprintable() or s in "\n\t\r" else "\ufffd" for s in text)


@command(commands, "wait")
@click.argument("command_id")
@click.option("--timeout", type=float, help="Seconds to wait.")
def wait(program: Program, command_id: str, timeout: Optional[float]) -> None:
    """Wait until a command has ended; status 1 unless it succeeded."""
    _await(program, command_id, timeout)


def _await(program: Program, command_id: str, timeout: Optional[float]) -> None:
    ended = program.client.commands.wait(
        command_id,
        timeout,
        on_change=lambda seen: program.note(f"{seen.id} {seen.status}"),
    )
    program.record(ended, facts(_facts(ended)))
    _leave_by(ended)


def _leave_by(ended: Command) -> None:
    if not ended.has_succeeded:
        sys.exit(FAILED)


@command(commands, "cancel")
@click.argument("command_id")
@click.option("--force", is_flag=True, default=None, help="At once, whatever the device says.")
@click.option("--timeout", "timeout_s", type=int, help="Seconds the device has to answer.")
@click.option("--reason", help="Kept in the audit log.")
def cancel(program: Program, command_id: str, **how_to: Any) -> None:
    """Ask for the end of a command."""
    cancelled = program.client.commands.cancel(command_id, **how_to)
    program.record(cancelled, f"{cancelled.id} {cancelled.status}")


@command(commands, "retry")
@click.argument("command_id")
def retry(program: Program, command_id: str) -> None:
    """Queue a copy of a command that ended badly."""
    copy = program.client.commands.retry(command_id)
    program.record(copy, copy.id)


@command(commands, "release")
@click.argument("command_id")
def release(program: Program, command_id: str) -> None:
    """Let a command go that is held for your word."""
    released = program.client.commands.release(command_id)
    program.record(released, f"{released.id} {released.status}")


@command(commands, "why")
@click.argument("command_id")
def why(program: Program, command_id: str) -> None:
    """Say what a command waits for."""
    found = program.client.commands.why(command_id)
    program.record(found, _reasons(found))


def _reasons(found: Why) -> str:
    if not found.waiting:
        return "It does not wait."
    if not found.reasons:
        return "It goes out at the device's next question."
    rows = [(reason.code, reason.detail, reason.until) for reason in found.reasons]
    return table(("reason", "detail", "until"), rows)

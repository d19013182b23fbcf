"""What the page of a command shows, part by part."""

from datetime import datetime
from typing import Any

from django.utils.html import format_html

from commands import registry
from commands.models import Command, CommandAttempt
from commands.options import PRIORITIES
from commands.reasons import waiting_reasons
from commands.selectors import repeats_of
from common import clock, markup
from common.logs import masked

_EVENTS = 200
_RETRIED = 5
_CLASSES = {number: name for name, number in PRIORITIES.items()}
# What the portal waits for next, by the column of its end.
_TIMERS = {
    "lease_expires_at": "Has to begin by",
    "step_deadline": "Step has to end by",
    "run_deadline": "Run has to end by",
    "cancel_deadline": "Cancelled at the latest",
}


def head(command: Command) -> dict[str, Any]:
    """Where the command is, and what it belongs to."""
    return {
        "command": command,
        "label": next((one.label for one in registry.kinds() if one.name == command.kind), ""),
        "retried_as": repeats_of(command=command, limit=_RETRIED),
        "timers": _timers(command),
    }


def _timers(command: Command) -> list[tuple[str, datetime]]:
    if not command.is_open:
        return []
    ends = [(words, getattr(command, name)) for name, words in _TIMERS.items()]
    return [(words, at) for words, at in ends if at is not None]


def why(command: Command) -> dict[str, Any]:
    """What keeps an open command from beginning or ending, and when that can change by itself."""
    if not command.is_open:
        return {"waits": False}
    reasons = waiting_reasons(command=command, now=clock.now())
    ends = [one.until for one in reasons if one.until is not None]
    return {
        "waits": command.status == Command.Status.QUEUED or bool(reasons),
        "reasons": reasons,
        "changes_at": min(ends, default=None),
        "last_seen": command.device.state.last_seen,
    }


def asked(command: Command) -> dict[str, Any]:
    """The order as it was given; it does not change."""
    return {"facts": _facts(command), "payload": masked(command.payload)}


def _facts(command: Command) -> list[tuple[str, object]]:
    named = _CLASSES.get(command.priority)
    facts: list[tuple[str, object]] = [
        ("Priority", f"{named} ({command.priority})" if named else command.priority),
        ("Place in line", command.sequence),
        ("Begins until", markup.moment(command.expires_at)),
        ("May run for", markup.span_text(command.run_timeout_s)),
    ]
    if command.not_before:
        facts.append(("Not before", markup.moment(command.not_before)))
    if any(command.retries.values()):
        facts.append(("Tried again", _retries(command)))
    expected = [command.expect_version and f"version {command.expect_version}"]
    expected.append(command.expect_state and f"state {command.expect_state}")
    if any(expected):
        words = f"{' and '.join(filter(None, expected))}, else {command.get_on_mismatch_display()}"
        facts.append(("Expects", words))
    if command.reconnect != Command.Reconnect.RUN:
        after = markup.span_text(command.reconnect_after_s)
        facts.append(("Offline longer", f"than {after}: {command.get_reconnect_display()}"))
    if command.disruptive:
        facts.append(("Disturbs", "the device; one such command runs at a time"))
    if command.protocol != "agent":
        facts.append(("Protocol", command.protocol))
    return facts


def _retries(command: Command) -> str:
    counted = sorted(command.retries.items())
    words = ", ".join(f"{name}: {count}" for name, count in counted if count)
    return f"{words}; first pause up to {markup.span_text(command.retry_backoff_s)}"


def story(command: Command, shown: int) -> dict[str, Any]:
    """Attempts and steps; `shown` is the attempt whose output stands on the page."""
    printing = set(command.chunks.filter(index=0).values_list("attempt", flat=True))
    attempts = [
        {
            "row": row,
            "began_after": _lasted(row.delivered_at, row.started_at),
            "ran_for": _lasted(row.started_at or row.delivered_at, row.finished_at),
            "has_output": row.number in printing,
            "is_shown": row.number == shown,
            "outcome": _outcome(row, command),
        }
        for row in command.attempts.order_by("-number")
    ]
    newest = list(command.events.order_by("-pk")[: _EVENTS + 1])
    return {
        "attempts": attempts,
        "events": newest[:_EVENTS][::-1],
        "more_events": len(newest) > _EVENTS,
    }


def _outcome(row: CommandAttempt, command: Command) -> str:
    is_present = row.number == command.attempt and command.is_open
    word = row.outcome or (command.status if is_present else "")
    labels = {**dict(Command.Status.choices), **dict(CommandAttempt.Outcome.choices)}
    return markup.badge(word, str(labels.get(word, word))) if word else ""


def _lasted(begin: datetime | None, end: datetime | None) -> str:
    if begin is None or end is None:
        return ""
    seconds = max((end - begin).total_seconds(), 0)
    short = f"{seconds:.1f} s" if seconds < 60 else markup.span_text(seconds)
    return format_html('<span class="fp-number">{}</span>', short)


def outcome(command: Command) -> dict[str, Any]:
    """What the last attempt left behind."""
    is_in_flight = command.status in ("delivered", "running")
    return {
        # While the next attempt is under way, the card of the last one tells what went wrong.
        "has_failed": not is_in_flight and bool(command.error or command.error_code),
        "result": masked(command.result) if command.result else None,
        "bundle": getattr(command, "bundle", None),
    }

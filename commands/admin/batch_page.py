"""What the page of a batch shows, and what can be done there."""

from collections import Counter
from datetime import datetime
from typing import Any

from accounts.admin_pages import Verb
from accounts.policy import Action
from accounts.principals import Principal
from commands import registry
from commands.models import ENDED, BatchTarget, Command, CommandBatch
from commands.options import Options
from commands.services.batch_progress import (
    STATUSES,
    WAITING,
    Progress,
    failed_targets,
    failures_of,
    progress_of,
    skipped_of,
)
from commands.services.batch_windows import Window
from commands.services.batches import sees_whole
from common import limits

_SHOWN_SKIPPED = 50
# In a bar, what is over comes first.
_BAR = [*ENDED, "running", "delivered", "queued", WAITING]


VERBS = [
    Verb(
        "start",
        "Start",
        "Start the batch?",
        "The commands go out as planned.",
        "The batch is on its way.",
        Action.COMMAND_CREATE,
        ("draft",),
        tone="main",
    ),
    Verb(
        "approve",
        "Approve",
        "Let the batch go?",
        "Somebody else made it; with your word it is sent.",
        "Approved.",
        Action.BATCH_APPROVE,
        ("awaiting_approval",),
        tone="main",
        reason="must",
    ),
    Verb(
        "resume",
        "Resume",
        "Go on?",
        "Held commands are let go, and the next waves follow.",
        "The batch goes on.",
        Action.COMMAND_CREATE,
        ("paused",),
        tone="main",
    ),
    Verb(
        "pause",
        "Pause",
        "Pause the batch?",
        "Nothing more is sent; what runs, runs on.",
        "Paused.",
        Action.COMMAND_CANCEL,
        ("scheduled", "running"),
    ),
    Verb(
        "retry",
        "Retry the failed",
        "Try the failed ones again?",
        "A new batch is drafted for devices that failed, timed out or expired.",
        "Drafted. Look at it, then start it.",
        Action.COMMAND_CREATE,
        ("running", "paused", "completed", "aborted", "cancelled"),
        reason="no",
    ),
    Verb(
        "cancel",
        "Cancel",
        "Cancel the batch?",
        "What no device has fetched is taken back.",
        "Cancelled.",
        Action.COMMAND_CANCEL,
        ("draft", "awaiting_approval", "scheduled", "running", "paused"),
        tone="bad",
        asks="admin/commands/commandbatch/ask_force.html",
    ),
]


def batch_context(batch: CommandBatch, principal: Principal, *, now: datetime) -> dict[str, Any]:
    """Return what the page and its live part show."""
    progress = progress_of(batch, principal)
    failures = failures_of(batch, principal)
    whole = sees_whole(batch, principal)
    mine = [verb for verb in VERBS if whole and verb.allowed(principal)]
    may = [verb for verb in mine if batch.status in verb.states]
    if not failures or not failed_targets(batch).exists():
        may = [verb for verb in may if verb.name != "retry"]
    own = principal.id == batch.creator_id
    kind = next((one for one in registry.kinds() if one.name == batch.kind), None)
    return {
        "batch": batch,
        "kind_label": kind.label if kind else batch.kind or "several",
        "progress": progress,
        "counts": _counts(progress.by_status),
        "parts": parts(progress.by_status),
        "waves": _waves(batch, progress),
        "wave_count": len(batch.wave_sizes) or 1,
        "failures": _with_commands(batch, failures, principal),
        "skipped": skipped_of(batch, principal),
        "unmatched": batch.unmatched[:_SHOWN_SKIPPED] if whole else [],
        "frozen": _frozen(batch, principal),
        "verbs": [verb for verb in may if not (verb.name == "approve" and own)],
        "dialogs": mine,
        "own": own,
        "quiet": batch.is_over and not progress.open,
        "not_before": Options.stored(batch.options).not_before,
        "next_window": _next_window(batch, now),
    }


def _frozen(batch: CommandBatch, principal: Principal) -> list[BatchTarget]:
    """Return the first devices of a list nothing was sent to yet."""
    if batch.status not in (CommandBatch.Status.DRAFT, CommandBatch.Status.AWAITING_APPROVAL):
        return []
    targets = BatchTarget.objects.visible_to(principal).filter(batch=batch, skipped="")
    rows = targets.select_related("device").order_by("wave", "id")
    return list(rows[: limits.BATCH_SHOWN])


def parts(counts: Counter[str]) -> list[tuple[str, int, str]]:
    """Return the coloured parts of a bar: status, weight, words."""
    return [
        (status, counts[status], f"{counts[status]} {status.replace('_', ' ')}")
        for status in _BAR
        if counts[status]
    ]


def _counts(counts: Counter[str]) -> list[tuple[str, str, int]]:
    return [
        (status, status.replace("_", " "), counts[status]) for status in STATUSES if counts[status]
    ]


def _waves(batch: CommandBatch, progress: Progress) -> list[dict[str, Any]]:
    """Return each wave with its bar; a wave that was left out altogether has no part of one."""
    waves = []
    for wave, counts in sorted(progress.by_wave.items()):
        total = counts.total()
        ended = total - sum(counts[one] for one in (WAITING, "queued", "delivered", "running"))
        waves.append(
            {
                "number": wave + 1,
                "total": total,
                "ended": ended,
                "parts": parts(counts),
                "state": _wave_state(batch, wave, counts),
                "next": wave == batch.wave + 1 and not batch.is_over,
            }
        )
    return waves


def _wave_state(batch: CommandBatch, wave: int, counts: Counter[str]) -> str:
    if wave > batch.wave:
        return "not sent" if batch.is_over else "waiting"
    if counts[WAITING]:
        return "going out"
    return "out" if sum(counts[one] for one in ("queued", "delivered", "running")) else "done"


def _with_commands(
    batch: CommandBatch, failures: list[dict[str, Any]], principal: Principal
) -> list[dict[str, Any]]:
    """Give every example its command."""
    names = {name for failure in failures for name in failure["devices"]}
    commands = Command.objects.visible_to(principal).filter(
        batch=batch, device__device_id__in=names
    )
    found = dict(commands.values_list("device__device_id", "pk"))
    return [
        {**one, "examples": [(name, found.get(name)) for name in one["devices"]]}
        for one in failures
    ]


def _next_window(batch: CommandBatch, now: datetime) -> datetime | None:
    if not batch.window or batch.is_over:
        return None
    span = Window.stored(batch.window).span(now)
    return span.opens if span.opens > now else None

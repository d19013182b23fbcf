"""How far a batch is, and what goes wrong in it: counted, never loaded."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count, F, Func, Min, QuerySet, Value
from django.db.models.functions import Left

from accounts.principals import Principal
from commands.models import OPEN, BatchTarget, Command, CommandBatch
from common import limits

# Beside the states of a command: takes part, and has no command yet; takes no part.
WAITING = "waiting"
SKIPPED = "skipped"
STATUSES = [WAITING, *Command.Status.values, SKIPPED]
FAILURES = ["failed", "rejected", "timed_out", "expired"]
# What another go may mend: what the device refused, it would refuse again.
RETRYABLE = ["failed", "timed_out", "expired"]
WINDOW_CLOSED = "window_closed"
_REASONS = 20
_EXAMPLES = 5


@dataclass(frozen=True)
class Progress:
    """Counts by status, altogether and by wave."""

    by_status: Counter[str] = field(default_factory=Counter)
    by_wave: dict[int, Counter[str]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Devices that take part."""
        return sum(self.by_status.values()) - self.by_status[SKIPPED]

    @property
    def open(self) -> int:
        """Commands that have not ended."""
        return sum(self.by_status[status] for status in OPEN)

    @property
    def ended(self) -> int:
        return self.total - self.open - self.by_status[WAITING]

    @property
    def completed(self) -> int:
        """Commands that ran their course: taking one back says nothing about the order."""
        return self.by_status["succeeded"] + self.failures("all")

    def failures(self, kind: str) -> int:
        """Return how many ended as `kind`: failed, rejected, timed_out or all."""
        return sum(self.by_status[one] for one in (FAILURES if kind == "all" else [kind]))


def progress_of(batch: CommandBatch, principal: Principal | None = None) -> Progress:
    """Count the targets of a batch; with `principal` only those of devices they see."""
    progress = Progress()
    for wave, status, count in _rows(batch, principal):
        progress.by_status[status] += count
        if wave is not None:
            progress.by_wave.setdefault(wave, Counter())[status] += count
    return progress


def _rows(
    batch: CommandBatch, principal: Principal | None
) -> Iterable[tuple[int | None, str, int]]:
    if batch.origin == CommandBatch.Origin.PUSH:
        commands = Command.objects.visible_to(principal) if principal else Command.objects.all()
        counted = commands.filter(batch=batch).order_by().values_list("status")
        return [(0, status, count) for status, count in counted.annotate(count=Count("pk"))]
    targets = BatchTarget.objects.visible_to(principal) if principal else BatchTarget.objects.all()
    rows = targets.filter(batch=batch).order_by().values_list("wave", "command__status", "skipped")
    return [
        (wave, status or (SKIPPED if skipped else WAITING), count)
        for wave, status, skipped, count in rows.annotate(count=Count("pk"))
    ]


def counts_of(batches: Iterable[CommandBatch]) -> dict[UUID, Counter[str]]:
    """Return the commands by status of each batch of a page of the list."""
    commands = Command.objects.filter(batch__in=[batch.pk for batch in batches])
    rows = commands.order_by().values_list("batch", "status").annotate(count=Count("pk"))
    counts: dict[UUID, Counter[str]] = {}
    for batch, status, count in rows:
        counts.setdefault(batch, Counter())[status] = count
    return counts


def failures_of(batch: CommandBatch, principal: Principal) -> list[dict[str, Any]]:
    """Group what ended badly by reason, the most frequent first, each with a few devices.

    Reasons that differ in numbers only are one: times and sizes differ on every device.
    """
    commands = Command.objects.visible_to(principal).filter(batch=batch)
    bad = commands.filter(status__in=FAILURES) | commands.filter(error_code=WINDOW_CLOSED)
    alike = Func(
        Left("error", limits.LINE_CHARS),
        Value("[0-9]+"),
        Value("#"),
        Value("g"),
        function="regexp_replace",
    )
    groups: Any = (
        bad.order_by()
        .annotate(alike=alike)
        .values("status", "error_code", "alike")
        .annotate(count=Count("pk"), error=Min(Left("error", limits.LINE_CHARS)))
        .annotate(devices=ArrayAgg(F("device__device_id"), order_by=["device__device_id"]))
        .order_by("-count", "status", "error_code", "alike")
    )
    names = ("status", "error_code", "error", "count")
    return [
        {**{name: group[name] for name in names}, "devices": group["devices"][:_EXAMPLES]}
        for group in groups[:_REASONS]
    ]


def failed_targets(batch: CommandBatch) -> QuerySet[BatchTarget]:
    """Return the targets another go may mend: failed, timed out, expired, or shut out."""
    mine = BatchTarget.objects.filter(batch=batch)
    return mine.filter(command__status__in=RETRYABLE) | mine.filter(
        command__error_code=WINDOW_CLOSED
    )


def skipped_of(batch: CommandBatch, principal: Principal) -> list[dict[str, Any]]:
    """Return why devices take no part, with a few of them, the most frequent reason first."""
    targets = BatchTarget.objects.visible_to(principal).filter(batch=batch).exclude(skipped="")
    names = ArrayAgg(F("device__device_id"), order_by=["device__device_id"])
    counted: Any = targets.order_by().values("skipped").annotate(count=Count("pk"), names=names)
    return [
        {"skipped": one["skipped"], "count": one["count"], "examples": one["names"][:_EXAMPLES]}
        for one in counted.order_by("-count", "skipped")[:_REASONS]
    ]

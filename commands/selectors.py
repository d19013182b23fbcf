"""Reads over commands that join several models."""

from datetime import datetime, timedelta

from django.db.models import Count

from accounts.principals import Principal
from commands.models import Command


def status_counts(*, principal: Principal, since: datetime | None = None) -> dict[str, int]:
    """Return the number of visible commands by status, of all time or queued since a moment."""
    commands = Command.objects.visible_to(principal)
    if since is not None:
        commands = commands.filter(created_at__gte=since)
    counted = dict(commands.order_by().values_list("status").annotate(count=Count("pk")))
    return {**dict.fromkeys(Command.Status.values, 0), **counted}


def recent_failures(*, principal: Principal, now: datetime, limit: int = 8) -> list[Command]:
    """Return the newest commands of the last week that ended badly."""
    bad = ["failed", "rejected", "timed_out", "expired"]
    commands = Command.objects.visible_to(principal).filter(
        status__in=bad, finished_at__gte=now - timedelta(days=7)
    )
    return list(commands.select_related("device").order_by("-finished_at")[:limit])


def repeats_of(*, command: Command, limit: int) -> list[Command]:
    """Return the newest commands that try this one again; they are for the same device."""
    return list(Command.objects.filter(retry_of=command).order_by("-pk")[:limit])

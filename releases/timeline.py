"""Everything that happened to one device, in one order: events, commands, updates, drift."""

import base64
import binascii
import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.utils.dateparse import parse_datetime

from accounts.principals import Principal
from commands.models import Command
from common.errors import DomainError
from devices.models import Device, DeviceEvent, DriftReport
from releases.models import DeviceUpdate


class CursorUnknown(DomainError):
    """The cursor is not one of this list."""

    code = "not_found"
    http_status = 404


@dataclass(frozen=True)
class Entry:
    """One line of the timeline; `source` and `id` name the row it stands for."""

    at: datetime
    source: str
    id: str
    title: str
    severity: str = "info"
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def cursor(self) -> str:
        """Return the place of this line, opaque to whoever gets it."""
        place = f"{self.at.isoformat()} {self.source} {self.id}"
        return base64.urlsafe_b64encode(place.encode()).decode()


def timeline(
    *, device: Device, principal: Principal, amount: int, cursor: str = ""
) -> tuple[list[Entry], str]:
    """Return the newest lines after the cursor and the next cursor, empty at the end.

    Raises CursorUnknown for a cursor that was made up.
    """
    after = _place(cursor) if cursor else None
    pieces = [
        [make(row) for row in _page(rows, source, moment, after)[: amount + 1]]
        for source, (rows, moment, make) in _sources(device, principal).items()
    ]
    merged: Iterable[Entry] = heapq.merge(*pieces, key=_order)
    lines = list(islice(merged, amount + 1))
    following = lines[amount - 1].cursor if len(lines) > amount else ""
    return lines[:amount], following


def _order(entry: Entry) -> tuple[float, str]:
    return (-entry.at.timestamp(), entry.source)


def _page(
    rows: QuerySet[Any], source: str, moment: str, after: tuple[datetime, str, str] | None
) -> QuerySet[Any]:
    if after is not None:
        at, their_source, pk = after
        same = Q(**{moment: at})
        if source == their_source:
            rows = rows.filter(Q(**{f"{moment}__lt": at}) | same & Q(pk__lt=pk))
        elif source > their_source:
            rows = rows.filter(**{f"{moment}__lte": at})
        else:
            rows = rows.filter(**{f"{moment}__lt": at})
    return rows.order_by(f"-{moment}", "-pk")


def _place(cursor: str) -> tuple[datetime, str, str]:
    unknown = CursorUnknown("This cursor is not one of this list. Begin without one.")
    try:
        at, source, pk = base64.urlsafe_b64decode(cursor.encode()).decode().split(" ")
        moment = parse_datetime(at)
    except (ValueError, binascii.Error):
        raise unknown from None
    clean = source in _MODELS and _is_key(source, pk)
    if moment is None or moment.tzinfo is None or not clean:
        raise unknown
    return moment, source, pk


def _is_key(source: str, pk: str) -> bool:
    try:
        _MODELS[source]._meta.pk.to_python(pk)
    except ValidationError:
        return False
    return True


_MODELS: dict[str, Any] = {
    "command": Command,
    "drift": DriftReport,
    "event": DeviceEvent,
    "update": DeviceUpdate,
}
_Source = tuple[QuerySet[Any], str, Callable[[Any], Entry]]


def _sources(device: Device, principal: Principal) -> dict[str, _Source]:
    """Return for each kind of line its visible rows, the moment they stand at, and its maker."""
    return {
        "command": (
            Command.objects.visible_to(principal).filter(device=device),
            "created_at",
            _command,
        ),
        "drift": (
            DriftReport.objects.visible_to(principal).filter(device=device),
            "first_at",
            _drift,
        ),
        "event": (DeviceEvent.objects.visible_to(principal).filter(device=device), "at", _event),
        "update": (
            DeviceUpdate.objects.visible_to(principal).filter(device=device),
            "scheduled_at",
            _update,
        ),
    }


def _event(row: DeviceEvent) -> Entry:
    details = {"kind": row.kind, **row.details}
    return Entry(row.at, "event", str(row.pk), row.message, row.severity, details)


def _command(row: Command) -> Entry:
    bad = row.status in ("failed", "rejected", "timed_out")
    details = {"type": row.kind, "status": row.status, "error": row.error}
    title = f"{row.kind} {row.status.replace('_', ' ')}"
    return Entry(
        row.created_at, "command", str(row.pk), title, "warning" if bad else "info", details
    )


def _update(row: DeviceUpdate) -> Entry:
    bad = row.status in ("failed", "rolled_back")
    details = {
        "kind": row.kind,
        "status": row.status,
        "from_version": row.from_version,
        "to_version": row.to_version,
        "failure_class": row.failure_class,
        "error": row.error,
    }
    title = f"Update {row} {row.status.replace('_', ' ')}"
    return Entry(
        row.scheduled_at, "update", str(row.pk), title, "warning" if bad else "info", details
    )


def _drift(row: DriftReport) -> Entry:
    details = {"release": row.release, "count": row.count, "resolved_at": row.resolved_at}
    severity = "info" if row.resolved_at else "warning"
    return Entry(row.first_at, "drift", str(row.pk), f"Drift: {row.count} files", severity, details)

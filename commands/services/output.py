"""What an attempt prints, piece by piece, while it runs."""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from commands.errors import OutputGap
from commands.models import Command, OutputChunk
from commands.services.rows import does_not_fit, locked
from common import limits


@dataclass(frozen=True)
class Taken:
    """The answer to a piece: which one comes next, and whether there is still room."""

    next_index: int
    truncated: bool
    cancel_requested: bool


@transaction.atomic
def output_append(*, command: Command, attempt: int, index: int, text: str, now: datetime) -> Taken:
    """Keep one piece of output of the attempt that is in flight; `index` counts from 0.

    A piece that is there already is accepted and not written again, also after the attempt has
    ended. Of one attempt `limits.OUTPUT_TOTAL_CHARS` are kept; what is beyond is dropped.
    Raises OutputGap when a piece before it is missing, TransitionRefused for another attempt.
    """
    row = locked(command)
    last = OutputChunk.objects.filter(command=row, attempt=attempt).order_by("-index").first()
    expected, end = (last.index + 1, last.end) if last else (0, 0)
    stopping = row.cancel_requested_at is not None
    if index < expected:
        return Taken(expected, end >= limits.OUTPUT_TOTAL_CHARS, stopping)
    if row.attempt != attempt or row.status not in ("delivered", "running"):
        raise does_not_fit(row, "output", attempt)
    room = limits.OUTPUT_TOTAL_CHARS - end
    if room <= 0:
        return Taken(index + 1, truncated=True, cancel_requested=stopping)
    if index > expected:
        raise OutputGap(
            f"Piece {expected} of attempt {attempt} is missing before {index}. Send it first.",
            next_index=expected,
        )
    kept = text[:room]
    OutputChunk.objects.create(
        organization_id=row.organization_id,
        command=row,
        attempt=attempt,
        index=index,
        text=kept,
        end=end + len(kept),
        at=now,
    )
    return Taken(index + 1, len(kept) < len(text), stopping)

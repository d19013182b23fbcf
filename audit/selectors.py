"""Reading the log: export rows, and the proof that nothing was touched."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db import transaction
from django.db.models import QuerySet

from audit.models import AuditEntry
from common.db import fetch_all

EXPORT_COLUMNS = [
    "at", "organization", "organization_id", "seq", "actor_type", "actor_id", "actor", "action",
    "target_type", "target_id", "target", "before", "after", "request_id", "previous_hash", "hash",
]  # fmt: skip

# Text of a moment exactly as the trigger hashed it.
AT_TEXT = "to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


def export_rows(entries: QuerySet[AuditEntry]) -> Iterator[list[object]]:
    """Yield the rows of an export in chain order, with bounded memory.

    `at`, `before` and `after` come as the text the chain was computed over, so that an export
    can be verified without the database. Opens its own transaction: the body of a streamed
    answer is produced after the view's has ended (a server-side cursor needs one).
    """
    columns = {"at": AT_TEXT, "before": "before::text", "after": "after::text"}
    rows = (
        entries.order_by("organization_id", "seq")
        .extra(select={f"{name}_text": sql for name, sql in columns.items()})  # noqa: S610 - constants
        .values_list(*[f"{name}_text" if name in columns else name for name in EXPORT_COLUMNS])
    )
    with transaction.atomic():
        for row in rows.iterator(chunk_size=2_000):
            yield list(row)


@dataclass(frozen=True)
class Break:
    """A place where a chain does not hold."""

    organization_id: str
    seq: int
    reason: str


def chain_breaks(limit: int = 20) -> list[Break]:
    """Recompute every chain inside the database; return the first places that do not hold.

    Finds edits, deletions in the middle and at the end, and reordering. A chain recomputed as a
    whole by the database's owner is only found by comparing with an earlier export.
    """
    rows = fetch_all(
        """
        WITH walked AS (
            SELECT e.*, row_number() OVER chain AS place,
                   lag(hash, 1, repeat('0', 64)) OVER chain AS hash_before
              FROM audit_auditentry e
            WINDOW chain AS (PARTITION BY organization_id ORDER BY seq)
        ), broken AS (
            SELECT organization_id, seq, CASE
                     WHEN seq <> place THEN 'an entry before this one is missing'
                     WHEN previous_hash <> hash_before THEN 'does not continue the entry before it'
                     WHEN hash <> audit_entry_hash(
                          w.organization_id, w.organization, w.seq, w.at, w.actor_type,
                          w.actor_id, w.actor, w.action, w.target_type, w.target_id, w.target,
                          w.before, w.after, w.request_id, w.previous_hash)
                          THEN 'was edited after it was written'
                   END AS reason
              FROM walked w
            UNION ALL
            SELECT h.organization_id, h.seq, 'the last entries are missing'
              FROM audit_audithead h
              LEFT JOIN audit_auditentry e USING (organization_id, seq)
             WHERE h.seq > 0 AND e.hash IS DISTINCT FROM h.hash
        )
        SELECT organization_id::text, seq, reason FROM broken
         WHERE reason IS NOT NULL ORDER BY 1, 2 LIMIT %s
        """,
        [limit],
    )
    return [Break(*row) for row in rows]


def chain_lengths() -> dict[str, int]:
    """Return how many entries each chain holds, by organisation id."""
    rows = fetch_all("SELECT organization_id::text, seq FROM audit_audithead ORDER BY 1")
    return dict(rows)

"""Acts on the log itself: taking a copy of it is one."""

from collections.abc import Iterator

from django.db.models import QuerySet

from accounts.principals import Principal
from audit import services as audit
from audit.models import AuditEntry
from audit.selectors import EXPORT_COLUMNS, export_rows
from common.csv_cells import csv_lines


def audit_export(
    *, entries: QuerySet[AuditEntry], filters: dict[str, str], actor: Principal
) -> Iterator[str]:
    """Return the lines of an export and note who took it, with which filters.

    The note is written before the first line, so that the copy holds it when the filters let it.
    """
    audit.record(
        actor=actor,
        organization=actor.organization,
        action="audit.export",
        after={"filters": filters},
    )
    return csv_lines(EXPORT_COLUMNS, export_rows(entries))

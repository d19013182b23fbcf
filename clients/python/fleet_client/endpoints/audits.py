"""The audit log."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, Optional, Union

from fleet_client.binding import Group, endpoint, listing
from fleet_client.download import Progress, fetched
from fleet_client.models import AuditEntry
from fleet_client.records import Page
from fleet_client.steps import Flow, Items


class AuditEndpoints(Group):
    """`client.audits`. Filters are those of the API: `actor`, `action`, `since`, `deviceId`, …"""

    @endpoint
    def list(self, /, **filters: Any) -> Flow[Page[AuditEntry]]:
        """Return one page, newest first: also `cursor`, `page_size`."""
        return self.core.page(AuditEntry, "/audits", params=filters)

    @listing
    def iterate(self, /, **filters: Any) -> Items[AuditEntry]:
        """Give every entry, newest first."""
        return self.core.pages(AuditEntry, "/audits", params=filters)

    @endpoint
    def export(
        self,
        /,
        path: Union[str, PathLike[str]],
        *,
        on_progress: Optional[Progress] = None,
        **filters: Any,
    ) -> Flow[Path]:
        """Write the log as CSV, in the chain's order; `path` appears when it is whole."""
        return fetched(
            self.core, "/audits.csv", Path(path), params=filters, on_progress=on_progress
        )

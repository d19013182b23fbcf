"""Support bundles."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence, Union

from fleet_client.binding import Group, endpoint, listing
from fleet_client.core import given, segment
from fleet_client.download import Progress, fetched
from fleet_client.endpoints.commands import queued
from fleet_client.models import (
    Bundle,
    Command,
    CommandOptions,
    Comparison,
    Finding,
    Line,
    Lines,
    Matches,
)
from fleet_client.records import Page
from fleet_client.steps import Flow, Item, Items

if TYPE_CHECKING:
    from typing_extensions import Unpack


def bundle_path(bundle_id: str, rest: str = "") -> str:
    """Return the path of a bundle, or of something below it."""
    return f"/bundles/{segment(bundle_id)}{rest}"


class BundleEndpoints(Group):
    """`client.bundles`."""

    @endpoint
    def request(
        self,
        /,
        device_id: str,
        *,
        payload: Optional[Mapping[str, Any]] = None,
        idempotency_key: Optional[str] = None,
        **options: Unpack[CommandOptions],
    ) -> Flow[Command]:
        """Ask a device for a bundle; return the command that does."""
        return queued(
            self.core, device_id, "bundle", payload or {}, options=options, key=idempotency_key
        )

    @endpoint
    def list(self, /, **filters: Any) -> Flow[Page[Bundle]]:
        """Return one page, newest first."""
        return self.core.page(Bundle, "/bundles", params=filters)

    @listing
    def iterate(self, /, **filters: Any) -> Items[Bundle]:
        """Give every bundle, newest first."""
        return self.core.pages(Bundle, "/bundles", params=filters)

    @endpoint
    def get(self, bundle_id: str) -> Flow[Bundle]:
        """Return a bundle with its files, findings and redactions."""
        return self.core.read(Bundle, "GET", bundle_path(bundle_id))

    @endpoint
    def findings(self, bundle_id: str) -> Flow[Sequence[Finding]]:
        """Return what the rules saw, the worst first."""
        bundle = yield from self.core.read(Bundle, "GET", bundle_path(bundle_id))
        return bundle.findings

    @endpoint
    def file(
        self,
        bundle_id: str,
        path: str,
        *,
        offset: Optional[int] = None,
        limit: Optional[int] = None,
        tail: Optional[int] = None,
    ) -> Flow[Lines]:
        """Return lines of a text file in a bundle; `tail` counts them from the end."""
        params = given(path=path, offset=offset, limit=limit, tail=tail)
        return self.core.read(Lines, "GET", bundle_path(bundle_id, "/files"), params=params)

    @listing
    def lines(self, bundle_id: str, path: str, *, offset: int = 0) -> Items[Line]:
        """Give every line of a text file from `offset` on, however long it is."""
        following: Optional[int] = offset
        while following is not None:
            params = {"path": path, "offset": following}
            page = yield from self.core.read(
                Lines, "GET", bundle_path(bundle_id, "/files"), params=params
            )
            for line in page.lines:
                yield Item(line)
            following = page.next_offset

    @endpoint
    def search(
        self,
        bundle_id: str,
        text: str,
        *,
        path: Optional[str] = None,
        context: Optional[int] = None,
    ) -> Flow[Matches]:
        """Return the lines that hold a text, in any case; in one file when `path` is given."""
        params = given(q=text, path=path, context=context)
        return self.core.read(Matches, "GET", bundle_path(bundle_id, "/search"), params=params)

    @endpoint
    def compare(self, bundle_id: str, other: str = "good") -> Flow[Comparison]:
        """Return the differences to another bundle, or to `good` ones or `peers`."""
        path = bundle_path(bundle_id, "/compare")
        return self.core.read(Comparison, "GET", path, params={"with": other})

    @endpoint
    def download(
        self,
        bundle_id: str,
        path: Union[str, PathLike[str]],
        *,
        on_progress: Optional[Progress] = None,
    ) -> Flow[Path]:
        """Write the archive; `path` appears when it is whole. A broken download is continued."""
        return fetched(
            self.core,
            bundle_path(bundle_id, "/download"),
            Path(path),
            # The archive of a bundle never changes.
            tag=str(bundle_id),
            on_progress=on_progress,
        )

"""Batches: one order to many devices, in waves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Optional, Sequence, Union

from fleet_client.binding import Group, endpoint, listing
from fleet_client.core import Core, given, segment
from fleet_client.models import Batch, BatchPreview, BatchTarget, CommandOptions
from fleet_client.polling import until
from fleet_client.records import Page
from fleet_client.steps import Flow, Items

Moment = Union[datetime, str]


def batch_path(batch_id: str, rest: str = "") -> str:
    """Return the path of a batch, or of something below it."""
    return f"/batches/{segment(batch_id)}{rest}"


def moved(
    core: Core, batch_id: str, verb: str, *, key: Optional[str], **members: Any
) -> Flow[Batch]:
    """Apply a verb to a batch."""
    return core.read(
        Batch, "POST", batch_path(batch_id, f"/{verb}"), body=given(**members), key=key
    )


class BatchEndpoints(Group):
    """`client.batches`.

    A `selection` is exactly one of `{"devices": [ids]}`, `{"group": id or name}`,
    `{"tags": [all of them]}` and `{"filter": {the filters of the list of devices}}`.
    """

    @endpoint
    def preview(
        self,
        selection: Mapping[str, Any],
        *,
        waves: Optional[Sequence[Mapping[str, int]]] = None,
        idempotency_key: Optional[str] = None,
    ) -> Flow[BatchPreview]:
        """Return whom a batch would reach. Nothing is sent."""
        body = given(selection=selection, waves=waves)
        return self.core.read(
            BatchPreview, "POST", "/batches/preview", body=body, key=idempotency_key
        )

    @endpoint
    def create(
        self,
        name: str,
        type: Optional[str] = None,
        payload: Optional[Mapping[str, Any]] = None,
        *,
        selection: Mapping[str, Any],
        template: Optional[str] = None,
        options: Optional[CommandOptions] = None,
        waves: Optional[Sequence[Mapping[str, int]]] = None,
        wave_pause_s: Optional[int] = None,
        abort_rules: Optional[Sequence[Mapping[str, Any]]] = None,
        start_at: Optional[Moment] = None,
        end_at: Optional[Moment] = None,
        end_behavior: Optional[str] = None,
        window: Optional[Mapping[str, Any]] = None,
        draft: Optional[bool] = None,
        idempotency_key: Optional[str] = None,
    ) -> Flow[Batch]:
        """Make a batch; unless it is a draft, it starts when its time has come."""
        body = given(
            name=name,
            type=type,
            payload=payload,
            selection=selection,
            template=template,
            options=options,
            waves=waves,
            wave_pause_s=wave_pause_s,
            abort_rules=abort_rules,
            start_at=start_at,
            end_at=end_at,
            end_behavior=end_behavior,
            window=window,
            draft=draft,
        )
        return self.core.read(Batch, "POST", "/batches", body=body, key=idempotency_key)

    @endpoint
    def list(self, /, **filters: Any) -> Flow[Page[Batch]]:
        """Return one page, newest first."""
        return self.core.page(Batch, "/batches", params=filters)

    @listing
    def iterate(self, /, **filters: Any) -> Items[Batch]:
        """Give every batch, newest first."""
        return self.core.pages(Batch, "/batches", params=filters)

    @endpoint
    def get(self, batch_id: str) -> Flow[Batch]:
        """Return a batch with its progress."""
        return self.core.read(Batch, "GET", batch_path(batch_id))

    @listing
    def targets(self, /, batch_id: str, **filters: Any) -> Items[BatchTarget]:
        """Give every device of a batch: `wave`, `status`, `skipped`."""
        return self.core.pages(BatchTarget, batch_path(batch_id, "/targets"), params=filters)

    @endpoint
    def start(self, batch_id: str, *, idempotency_key: Optional[str] = None) -> Flow[Batch]:
        """Start a draft."""
        return moved(self.core, batch_id, "start", key=idempotency_key)

    @endpoint
    def approve(
        self, batch_id: str, *, reason: str, idempotency_key: Optional[str] = None
    ) -> Flow[Batch]:
        """Let a batch go that somebody else made; say why."""
        return moved(self.core, batch_id, "approve", reason=reason, key=idempotency_key)

    @endpoint
    def pause(
        self, batch_id: str, *, reason: Optional[str] = None, idempotency_key: Optional[str] = None
    ) -> Flow[Batch]:
        """Start no further command until resumed."""
        return moved(self.core, batch_id, "pause", reason=reason, key=idempotency_key)

    @endpoint
    def resume(
        self, batch_id: str, *, reason: Optional[str] = None, idempotency_key: Optional[str] = None
    ) -> Flow[Batch]:
        """Go on."""
        return moved(self.core, batch_id, "resume", reason=reason, key=idempotency_key)

    @endpoint
    def cancel(
        self,
        batch_id: str,
        *,
        reason: Optional[str] = None,
        force: Optional[bool] = None,
        idempotency_key: Optional[str] = None,
    ) -> Flow[Batch]:
        """End a batch; with `force` what runs is ended too."""
        return moved(self.core, batch_id, "cancel", reason=reason, force=force, key=idempotency_key)

    @endpoint
    def retry_failed(
        self, batch_id: str, *, draft: Optional[bool] = None, idempotency_key: Optional[str] = None
    ) -> Flow[Batch]:
        """Make a batch of the devices where this one failed; return it."""
        return moved(self.core, batch_id, "retry-failed", draft=draft, key=idempotency_key)

    @endpoint
    def wait(
        self,
        batch_id: str,
        timeout: Optional[float] = None,
        *,
        on_progress: Optional[Callable[[Batch], object]] = None,
    ) -> Flow[Batch]:
        """Wait until a batch has ended; return it, however it ended.

        Raises WaitTimeout after `timeout` seconds. `on_progress` gets the batch whenever its
        status, its wave or its progress changed.
        """
        path = batch_path(batch_id)
        return until(
            lambda: self.core.read(Batch, "GET", path),
            is_done=lambda batch: batch.is_done,
            describe=lambda batch: f"Batch {batch.id} is {batch.status}",
            state=lambda batch: (batch.status, batch.wave, batch.progress),
            timeout=timeout,
            on_change=on_progress,
        )

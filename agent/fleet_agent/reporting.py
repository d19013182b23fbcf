"""Telling the portal how commands ended, until it has confirmed each of them."""

from __future__ import annotations

import logging
from typing import Any

from fleet_agent.commands.base import INTERRUPTED, Context
from fleet_agent.commands.registry import command_type
from fleet_agent.errors import PortalError
from fleet_agent.journal import CONFIRMED, RESULT, Entry, Journal

ENDS = ("succeeded", "failed", "rejected", "cancelled")
log = logging.getLogger(__name__)


class Reporter:
    """Sends reports of journalled entries and journals their confirmation."""

    def __init__(self, *, journal: Journal, context: Context) -> None:
        self._journal = journal
        self._context = context

    def report_all(self) -> None:
        """Tell the portal every result it has not confirmed.

        Raises PortalError when the portal takes nothing at all at the moment. A fault it has with
        one result (500) must not hold up the other commands: that result is tried again later.
        """
        for entry in self._journal.in_phase(RESULT):
            try:
                self._report(entry)
            except PortalError as error:  # noqa: PERF203 - each has its own end
                if error.status != 500:
                    raise
                log.warning("The result of command %s is kept: %s", entry.command_id, error)

    def report_now(self, entry: Entry) -> None:
        """Tell one result; a failure is logged, the result then stays in the journal."""
        try:
            self._report(entry)
        except PortalError as error:
            log.warning("The result of command %s is kept: %s", entry.command_id, error)

    def patch(self, entry: Entry, report: dict[str, Any]) -> dict[str, Any]:
        """Send one report as it is. Raises PortalError."""
        return self._context.portal.call(
            "PATCH", f"/commands/{entry.command_id}", body={"attempt": entry.attempt, **report}
        )

    def _report(self, entry: Entry) -> None:
        report = entry.report or {"status": "failed", "error": INTERRUPTED}
        try:
            self.patch(entry, report)
        except PortalError as error:
            if error.status in (400, 413, 422) and "output" in report:
                log.warning("The portal refused a result, sent again without its output: %s", error)
                self._patch_or_drop(entry, {**report, "output": ""})
            elif not _is_final(error):
                raise
            else:
                log.warning(
                    "The portal has no use for the result of %s: %s", entry.command_id, error
                )
        self._journal.hold(entry, CONFIRMED)
        kind = command_type(entry.kind)
        if kind is not None:
            kind.forget(entry, self._context)

    def _patch_or_drop(self, entry: Entry, report: dict[str, Any]) -> None:
        try:
            self.patch(entry, report)
        except PortalError as error:
            if not _is_final(error):
                raise
            log.warning("The result of command %s is dropped: %s", entry.command_id, error)


def _is_final(error: PortalError) -> bool:
    """True when sending the same result again can never be accepted."""
    return error.status in (400, 404, 409, 410, 413, 422)

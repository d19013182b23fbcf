"""Carrying out commands: journal, do, journal, report. No attempt is ever begun twice."""

from __future__ import annotations

import logging
import time
from typing import Any, Optional

from fleet_agent.commands.base import (
    INTERRUPTED,
    CommandRefusedError,
    CommandType,
    Context,
    Outcome,
)
from fleet_agent.commands.registry import TYPES, command_type
from fleet_agent.errors import PortalError
from fleet_agent.journal import ACCEPTED, CONFIRMED, RESULT, STARTED, WAITING, Entry, Journal
from fleet_agent.pace import Backoff

# How long to insist on telling the portal that a command begins, before giving it back.
START_PATIENCE_S = 45.0
GIVEN_BACK = (
    "The portal could not be reached to confirm the start, so nothing was done. Send it again."
)
ENDS = ("succeeded", "failed", "rejected")
log = logging.getLogger(__name__)


class Executor:
    """Works through claimed commands one after the other. Used by one thread."""

    def __init__(self, *, journal: Journal, context: Context) -> None:
        self._journal = journal
        self._context = context

    def recover(self) -> None:
        """Settle what an earlier run of the agent began and did not finish."""
        for entry in self._journal.in_phase(ACCEPTED):
            self._finish(entry, Outcome("failed", error=f"{INTERRUPTED}; nothing was done"))
        for entry in self._journal.in_phase(STARTED, WAITING):
            self._settle(entry)

    def check_waiting(self) -> None:
        """Look whether commands that take effect later have done so."""
        for entry in self._journal.in_phase(WAITING):
            self._settle(entry)

    def report_results(self) -> None:
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

    def handle(self, command: dict[str, Any]) -> None:
        """Carry out one claimed command and report it; a failed report is kept for later."""
        try:
            entry = Entry(str(command["id"]), int(command["attempt"]), str(command["type"]))
        except (KeyError, TypeError, ValueError):
            log.warning("A command without id, attempt or type is passed over")
            return
        known = self._journal.get(*entry.key)
        if known is not None:
            log.info("Command %s attempt %d is known already", *entry.key)
            if (known.report or {}).get("status") in ENDS:
                self._report_now(known)
            return
        outcome = self._outcome_of(entry, command.get("payload"))
        if outcome is not None:
            self._finish(entry, outcome)
            self._report_now(entry)

    def _outcome_of(self, entry: Entry, payload: object) -> Optional[Outcome]:
        earlier = self._journal.success_of(entry.command_id)
        if earlier is not None and earlier.report is not None:
            # The portal lost the report of an earlier attempt; the effect must not come twice.
            log.info("Command %s was done in attempt %d", entry.command_id, earlier.attempt)
            refusal = self._announce(entry)
            if refusal is not None or entry.phase == CONFIRMED:
                return refusal
            return Outcome("succeeded", result=earlier.report.get("result"))
        kind = command_type(entry.kind)
        if kind is None:
            known = ", ".join(TYPES)
            return Outcome("rejected", error=f"Unknown type {entry.kind[:64]!r}. Known: {known}.")
        try:
            checked = payload if isinstance(payload, dict) else {}
            entry.arguments = kind.check(checked, self._context)
        except CommandRefusedError as refusal:
            log.warning("Command %s (%s) refused: %s", entry.command_id, entry.kind, refusal)
            return Outcome("rejected", error=str(refusal))
        return self._carried_out(entry, kind)

    def _carried_out(self, entry: Entry, kind: CommandType) -> Optional[Outcome]:
        try:
            entry.facts = kind.facts(entry.arguments, self._context)
            self._journal.write(entry, ACCEPTED)
            refusal = self._announce(entry)
            if refusal is not None:
                return refusal
            if entry.phase == CONFIRMED:
                return None
            self._journal.write(entry, STARTED)
        except OSError as error:
            return Outcome(
                "failed",
                error=f"The command journal cannot be written, so nothing was done: {error}",
            )
        log.info("Command %s (%s) attempt %d begins", entry.command_id, entry.kind, entry.attempt)
        try:
            outcome = kind.execute(entry, self._context)
        except Exception as error:
            # A fault in one command must reach its operator and spare the others.
            log.exception("Command %s (%s) broke", entry.command_id, entry.kind)
            return Outcome("failed", error=f"{type(error).__name__}: {error}")
        if outcome is None:
            self._journal.hold(entry, WAITING)
        return outcome

    def _announce(self, entry: Entry) -> Optional[Outcome]:
        """Tell the portal that the command begins; return how it ended when it may not begin."""
        backoff = Backoff(base_s=0.5, cap_s=8.0)
        deadline = time.monotonic() + START_PATIENCE_S
        while True:
            try:
                self._patch(entry, {"status": "running"})
            except PortalError as error:  # noqa: PERF203 - waiting dwarfs it
                if backoff.failures and _is_running_already(error):
                    return None
                if not error.is_temporary:
                    log.warning("Command %s may not begin: %s", entry.command_id, error)
                    self._journal.forget(entry)
                    return None
                delay_s = backoff.delay_s(error)
                if time.monotonic() + delay_s > deadline:
                    return Outcome("failed", error=GIVEN_BACK)
                self._context.pause(delay_s)
            else:
                return None

    def _settle(self, entry: Entry) -> None:
        kind = command_type(entry.kind)
        if kind is None:
            outcome: Optional[Outcome] = Outcome("failed", error=INTERRUPTED)
        else:
            try:
                outcome = kind.probe(entry, self._context)
            except Exception as error:  # noqa: BLE001 - a probe that breaks is an unknown end
                outcome = Outcome("failed", error=f"{INTERRUPTED}; its effect is unknown: {error}")
        if outcome is not None:
            self._finish(entry, outcome)
        elif entry.phase != WAITING:
            self._journal.hold(entry, WAITING)

    def _finish(self, entry: Entry, outcome: Outcome) -> None:
        entry.report = outcome.as_report()
        self._journal.hold(entry, RESULT)
        log.info("Command %s (%s) %s", entry.command_id, entry.kind, outcome.status)

    def _report_now(self, entry: Entry) -> None:
        try:
            self._report(entry)
        except PortalError as error:
            log.warning("The result of command %s is kept: %s", entry.command_id, error)

    def _report(self, entry: Entry) -> None:
        report = entry.report or {"status": "failed", "error": INTERRUPTED}
        try:
            self._patch(entry, report)
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

    def _patch_or_drop(self, entry: Entry, report: dict[str, Any]) -> None:
        try:
            self._patch(entry, report)
        except PortalError as error:
            if not _is_final(error):
                raise
            log.warning("The result of command %s is dropped: %s", entry.command_id, error)

    def _patch(self, entry: Entry, report: dict[str, Any]) -> None:
        self._context.portal.call(
            "PATCH", f"/commands/{entry.command_id}", body={"attempt": entry.attempt, **report}
        )


def _is_final(error: PortalError) -> bool:
    """True when sending the same result again can never be accepted."""
    return error.status in (400, 404, 409, 410, 413, 422)


def _is_running_already(error: PortalError) -> bool:
    # The answer to an earlier try was lost on its way.
    names = ("state", "current", "current_state", "current_status", "command_status")
    return error.status == 409 and any(error.answer.get(name) == "running" for name in names)

"""Carrying out commands: journal, do, journal, report. No attempt is ever begun twice."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Any, Optional

from fleet_agent.commands.base import (
    CODE_INTERRUPTED,
    CODE_NOT_STARTED,
    RESUME,
    CommandRefusedError,
    CommandType,
    Context,
    Outcome,
    interrupted,
)
from fleet_agent.commands.registry import TYPES, command_type
from fleet_agent.errors import PortalError, present_state
from fleet_agent.journal import ACCEPTED, CONFIRMED, RESULT, STARTED, WAITING, Entry, Journal
from fleet_agent.keeper import Keeper
from fleet_agent.live import CommandCancelledError, Live
from fleet_agent.pace import Backoff
from fleet_agent.portal import PortalClient
from fleet_agent.reporting import ENDS, Reporter

# How long to insist on telling the portal that a command begins, before giving it back.
START_PATIENCE_S = 45.0
GIVEN_BACK = (
    "The portal could not be reached to confirm the start, so nothing was done. Send it again."
)
CANCELLED = Outcome("cancelled", error="Cancelled at the portal's request.")
log = logging.getLogger(__name__)


class Executor:
    """Works through claimed commands one after the other. Used by one thread, but for `cancel`."""

    def __init__(self, *, journal: Journal, context: Context) -> None:
        self._journal = journal
        self._context = context
        self._reporter = Reporter(journal=journal, context=context)
        self._live: Optional[Live] = None
        self._cancels: set[tuple[str, int]] = set()

    def can_begin(self) -> bool:
        """Tell whether a command could be journalled, and so begun."""
        return self._journal.check()

    def cancel(self, command_id: str, attempt: int) -> None:
        """Ask a command to stop; called by any thread, for any command, any number of times."""
        live = self._live
        if live is not None and live.entry.key == (command_id, attempt):
            live.cancelled.set()
        else:
            self._cancels.add((command_id, attempt))

    def recover(self) -> None:
        """Settle what an earlier run of the agent began and did not finish."""
        begun = self._journal.in_phase(STARTED, WAITING)
        resumed = [entry for entry in begun if self._settle(entry)]
        # Those that ended are told before the others go on, which may take hours.
        self._report_quietly()
        for entry in resumed:
            self._run(entry, TYPES[entry.kind])
        for entry in self._journal.in_phase(ACCEPTED):
            self._begin_again(entry)

    def check_waiting(self) -> None:
        """Look whether commands that take effect later have done so."""
        for entry in self._journal.in_phase(WAITING):
            if entry.key in self._cancels:
                self._stop(entry)
            elif self._settle(entry):
                self._run(entry, TYPES[entry.kind])
        self._cancels.clear()

    def has_waiting(self) -> bool:
        """Tell whether a command takes effect later and has to be looked at again."""
        return bool(self._journal.in_phase(WAITING))

    def report_results(self) -> None:
        """Tell the portal every result it has not confirmed; see `Reporter.report_all`."""
        self._reporter.report_all()

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
                self._reporter.report_now(known)
            return
        earlier = self._decided_before(entry)
        if earlier is not None:
            self._repeat(entry, earlier)
            return
        payload = command.get("payload")
        self._accept(entry, payload if isinstance(payload, dict) else {})

    def _decided_before(self, entry: Entry) -> Optional[Entry]:
        """Return the attempt that settles this one: it succeeded, goes on, or nobody can tell."""
        for earlier in reversed(self._journal.attempts(entry.command_id)):
            report = earlier.report or {}
            is_open = earlier.phase in (STARTED, WAITING)
            is_unknown = report.get("error_code") == CODE_INTERRUPTED
            if is_open or is_unknown or report.get("status") == "succeeded":
                return earlier
        return None

    def _repeat(self, entry: Entry, earlier: Entry) -> None:
        """Answer a new attempt with what became of an earlier one: an effect comes once."""
        log.info("Command %s was begun in attempt %d", entry.command_id, earlier.attempt)
        refusal = self._announce(entry, kind=None)
        if entry.phase == CONFIRMED:
            return
        if refusal is not None:
            self._finish(entry, refusal)
        elif earlier.phase in (STARTED, WAITING):
            entry.arguments = earlier.arguments
            entry.facts = {"attempt": earlier.attempt, **earlier.facts}
            self._journal.hold(entry, WAITING)
            self._journal.forget(earlier)
            return
        else:
            entry.report = dict(earlier.report or {})
            self._journal.hold(entry, RESULT)
        self._reporter.report_now(entry)

    def _accept(self, entry: Entry, payload: dict[str, Any]) -> None:
        kind = command_type(entry.kind)
        if kind is None:
            known = ", ".join(TYPES)
            error = f"Unknown type {entry.kind[:64]!r}. Known: {known}."
            self._end(entry, Outcome("rejected", error=error))
            return
        try:
            entry.arguments = kind.check(payload, self._context)
        except CommandRefusedError as refusal:
            log.warning("Command %s (%s) refused: %s", entry.command_id, entry.kind, refusal)
            self._end(entry, Outcome("rejected", error=str(refusal)))
            return
        try:
            self._journal.write(entry, ACCEPTED)
        except OSError as error:
            # Not a word to the portal: the lease runs out and the command is handed out again.
            log.warning("Command %s is left alone, it cannot be journalled: %s", entry.key, error)
            return
        self._begin(entry, kind)

    def _begin_again(self, entry: Entry) -> None:
        # Nothing of it was done, and the portal says whether it is still wanted.
        kind = command_type(entry.kind)
        if kind is None:
            self._journal.forget(entry)
            return
        self._begin(entry, kind, is_again=True)

    def _begin(self, entry: Entry, kind: CommandType, *, is_again: bool = False) -> None:
        refusal = self._announce(entry, kind=kind, is_again=is_again)
        if entry.phase == CONFIRMED:
            return
        if refusal is not None:
            self._end(entry, refusal)
            return
        try:
            entry.facts = kind.facts(entry.arguments, self._context)
            self._journal.write(entry, STARTED)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing has been done yet
            detail = f"Nothing was done, the start could not be journalled: {error}"
            self._end(entry, Outcome("failed", error=detail, error_code=CODE_NOT_STARTED))
            return
        log.info("Command %s (%s) attempt %d begins", entry.command_id, entry.kind, entry.attempt)
        self._run(entry, kind)

    def _run(self, entry: Entry, kind: CommandType) -> None:
        live = Live(entry, kind.step_timeout_s)
        self._live = live
        if entry.key in self._cancels:
            live.cancelled.set()
        try:
            outcome = self._executed(entry, kind, live)
        finally:
            self._live = None
        if outcome is None:
            self._journal.hold(entry, WAITING)
        else:
            self._end(entry, outcome)

    def _executed(self, entry: Entry, kind: CommandType, live: Live) -> Optional[Outcome]:
        context = replace(self._context, live=live)
        if kind.step_timeout_s is None:
            return _outcome(entry, kind, context)
        with Keeper(portal=PortalClient(context.store), live=live) as keeper:
            outcome = _outcome(entry, kind, context)
            keeper.flush()
        return outcome

    def _announce(
        self, entry: Entry, *, kind: Optional[CommandType], is_again: bool = False
    ) -> Optional[Outcome]:
        """Tell the portal that the command begins; return how it ended when it may not begin.

        The entry is CONFIRMED afterwards when the portal has withdrawn the command.
        """
        body: dict[str, Any] = {"status": "running"}
        if kind is not None and kind.step_timeout_s is not None:
            body["step_timeout_s"] = kind.step_timeout_s
        backoff = Backoff(base_s=0.5, cap_s=8.0)
        deadline = time.monotonic() + START_PATIENCE_S
        while True:
            try:
                answer = self._reporter.patch(entry, body)
                return CANCELLED if answer.get("cancel_requested") else None
            except PortalError as error:  # noqa: PERF203 - waiting dwarfs it
                may_be_known = is_again or backoff.failures
                if may_be_known and error.status == 409 and present_state(error) == "running":
                    # The answer to an earlier try was lost on its way.
                    return None
                if not error.is_temporary:
                    log.warning("Command %s may not begin: %s", entry.command_id, error)
                    self._journal.forget(entry)
                    return None
                delay_s = backoff.delay_s(error)
                if time.monotonic() + delay_s > deadline:
                    return Outcome("failed", error=GIVEN_BACK, error_code=CODE_NOT_STARTED)
                self._context.pause(delay_s)

    def _settle(self, entry: Entry) -> bool:
        """Ask the machine what became of a command; return True when it may go on."""
        kind = command_type(entry.kind)
        if kind is None:
            self._finish(entry, interrupted("this agent does not know its type"))
            return False
        try:
            outcome = kind.probe(entry, self._context)
        except Exception as error:  # noqa: BLE001 - a probe that breaks is an unknown end
            outcome = interrupted(f"its effect is unknown: {error}")
        if outcome is RESUME:
            return True
        if outcome is not None:
            self._finish(entry, outcome)
        elif entry.phase != WAITING:
            self._journal.hold(entry, WAITING)
        return False

    def _stop(self, entry: Entry) -> None:
        kind = command_type(entry.kind)
        outcome = kind.cancel(entry, self._context) if kind is not None else None
        if outcome is not None:
            self._finish(entry, outcome)

    def _end(self, entry: Entry, outcome: Outcome) -> None:
        self._finish(entry, outcome)
        self._reporter.report_now(entry)

    def _finish(self, entry: Entry, outcome: Outcome) -> None:
        entry.report = outcome.as_report()
        self._journal.hold(entry, RESULT)
        log.info("Command %s (%s) %s", entry.command_id, entry.kind, outcome.status)

    def _report_quietly(self) -> None:
        try:
            self.report_results()
        except PortalError as error:
            log.warning("The results of an earlier run are kept: %s", error)


def _outcome(entry: Entry, kind: CommandType, context: Context) -> Optional[Outcome]:
    try:
        return kind.execute(entry, context)
    except CommandCancelledError:
        log.info("Command %s (%s) is cancelled", entry.command_id, entry.kind)
        return CANCELLED
    except CommandRefusedError as refusal:
        log.warning("Command %s (%s) refused: %s", entry.command_id, entry.kind, refusal)
        return Outcome("rejected", error=str(refusal))
    except Exception as error:
        # A fault in one command must reach its operator and spare the others.
        log.exception("Command %s (%s) broke", entry.command_id, entry.kind)
        return Outcome("failed", error=f"{type(error).__name__}: {error}")

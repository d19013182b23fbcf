"""reboot: succeeded only once the machine is up again under another boot id."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Optional

from fleet_agent import processes
from fleet_agent.commands.base import (
    CommandRefusedError,
    CommandType,
    Context,
    Outcome,
    interrupted,
)
from fleet_agent.journal import WAITING, Entry

MAX_DELAY_S = 3600
COMMAND_TIMEOUT_S = 30.0
# Stopping every service of a machine can take minutes; after this it is not going to happen.
GRACE_S = 600
# systemd keeps a shutdown that waits for its time here.
SCHEDULED = Path("/run/systemd/shutdown/scheduled")


class Reboot(CommandType):
    """Payload: `delay_seconds`, 0 to 3600; the system counts in minutes, so it is rounded up."""

    name: ClassVar[str] = "reboot"

    def check(self, payload: dict[str, Any], context: Context) -> dict[str, Any]:
        delay = payload.get("delay_seconds", 0)
        if isinstance(delay, bool) or not isinstance(delay, int) or not 0 <= delay <= MAX_DELAY_S:
            raise CommandRefusedError(
                f"delay_seconds must be a whole number from 0 to {MAX_DELAY_S}, not {delay!r:.80}."
            )
        if not context.store.settings.allow_reboot:
            raise CommandRefusedError(
                "Rebooting is not allowed on this device. "
                "Set ALLOW_REBOOT=true in its fleet.conf to allow it."
            )
        return {"delay_seconds": delay}

    def facts(self, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
        due = context.uptime_s() + _minutes(arguments["delay_seconds"]) * 60
        return {"boot_id": context.boot_id, "due_uptime_s": due}

    def execute(self, entry: Entry, context: Context) -> Optional[Outcome]:
        output = []
        error = ""
        for arguments in _ways(entry.arguments["delay_seconds"]):
            if not processes.is_present(arguments[0]):
                error = f"`{arguments[0]}` is not installed."
                output.append(error)
                continue
            done = processes.run(arguments, timeout_s=COMMAND_TIMEOUT_S)
            if done.succeeded:
                return None
            error = done.told()
            output.append(f"{error}\n{done.output}")
        return Outcome(
            "failed", error=f"The reboot could not be started: {error}", output="\n".join(output)
        )

    def probe(self, entry: Entry, context: Context) -> Optional[Outcome]:
        before = entry.facts.get("boot_id")
        if before and before != context.boot_id:
            return Outcome(
                "succeeded", result={"boot_id_before": before, "boot_id_after": context.boot_id}
            )
        if entry.phase != WAITING and not SCHEDULED.exists():
            return interrupted("the machine has not been rebooted")
        if context.uptime_s() <= entry.facts.get("due_uptime_s", 0) + GRACE_S:
            return None
        return Outcome(
            "failed",
            error=f"The reboot was ordered, but {GRACE_S} s after its time it had not come.",
        )

    def cancel(self, entry: Entry, context: Context) -> Optional[Outcome]:
        if not processes.is_present("shutdown"):
            return None
        done = processes.run(["shutdown", "-c"], timeout_s=COMMAND_TIMEOUT_S)
        if not done.succeeded:
            return None
        return Outcome("cancelled", error="The reboot was called off.", output=done.output)


def _minutes(seconds: int) -> int:
    return -(-seconds // 60)


def _ways(delay_s: int) -> list[list[str]]:
    if delay_s:
        return [["shutdown", "-r", f"+{_minutes(delay_s)}"]]
    return [["systemctl", "reboot"], ["shutdown", "-r", "now"]]

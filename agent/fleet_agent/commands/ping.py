"""ping: is the agent there, and what do its clocks say."""

from __future__ import annotations

import time
from typing import Any, ClassVar, Optional

from fleet_agent import __version__
from fleet_agent.clock import rfc3339_now
from fleet_agent.commands.base import RESUME, CommandType, Context, Outcome
from fleet_agent.journal import Entry


class Ping(CommandType):
    """No payload."""

    name: ClassVar[str] = "ping"

    def check(self, payload: dict[str, Any], context: Context) -> dict[str, Any]:
        return {}

    def execute(self, entry: Entry, context: Context) -> Optional[Outcome]:
        return Outcome(
            "succeeded",
            result={
                "agent_version": __version__,
                "boot_id": context.boot_id,
                "uptime_s": context.uptime_s(),
                "monotonic_s": round(time.monotonic(), 3),
                "wall_clock": rfc3339_now(),
            },
        )

    def probe(self, entry: Entry, context: Context) -> Optional[Outcome]:
        return RESUME

"""update: not yet."""

from __future__ import annotations

from typing import Any, ClassVar, Optional

from fleet_agent.commands.base import CommandRefusedError, CommandType, Context, Outcome
from fleet_agent.journal import Entry


class Update(CommandType):
    """Refuses, so that nobody takes silence for success."""

    name: ClassVar[str] = "update"

    def check(self, payload: dict[str, Any], context: Context) -> dict[str, Any]:
        raise CommandRefusedError(
            "This agent has no releases support yet; nothing was changed. "
            "Install the version by hand, or with an update client the portal also speaks to."
        )

    def execute(self, entry: Entry, context: Context) -> Optional[Outcome]:
        raise CommandRefusedError("This agent has no releases support yet.")

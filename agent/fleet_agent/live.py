"""A command under way: asked to stop, streaming its output."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Optional

from fleet_agent.journal import Entry
from fleet_agent.output import OutputStream


class CommandCancelledError(Exception):
    """The portal wants the command to end."""


@dataclass
class Live:
    """What the thread that carries a command out shares with its keeper's.

    `step_timeout_s` is how long the portal may wait for the next sign of life, None for short
    commands.
    """

    entry: Entry
    step_timeout_s: Optional[int] = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    stream: Optional[OutputStream] = None

    def check(self) -> None:
        """Raises CommandCancelledError when the portal wants the command to end."""
        if self.cancelled.is_set():
            raise CommandCancelledError

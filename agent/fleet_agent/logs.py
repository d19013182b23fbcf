"""Logging to standard error without secrets, with the last lines kept for support bundles."""

from __future__ import annotations

import logging
import sys
from collections import deque

from fleet_agent.redaction import SECRETS

KEPT_LINES = 2000


class RedactingFormatter(logging.Formatter):
    """Formats a line, tracebacks included, and takes known secrets out of it."""

    def format(self, record: logging.LogRecord) -> str:
        return SECRETS.clean(super().format(record))


class RecentLines(logging.Handler):
    """Keeps the last lines in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))

    def text(self) -> str:
        return "\n".join(tuple(self._lines)) + "\n"


def set_up(level: str) -> RecentLines:
    """Send the log of the agent to standard error; return where its last lines are kept."""
    formatter = RedactingFormatter("%(asctime)s %(levelname)s %(message)s")
    recent = RecentLines()
    logger = logging.getLogger("fleet_agent")
    logger.handlers.clear()
    for handler in (logging.StreamHandler(sys.stderr), recent):
        handler.setFormatter(formatter)
        logger.addHandler(handler)
    logger.propagate = False
    set_level(level)
    return recent


def set_level(level: str) -> None:
    logging.getLogger("fleet_agent").setLevel(level)

"""Why an update ends without success."""

from __future__ import annotations

import errno
from typing import Optional

from fleet_agent.errors import AgentError

NETWORK = "network"
VERIFICATION = "verification"
SPACE = "space"
INSTALL = "install"
HEALTH = "health"
TIMEOUT = "timeout"
INTERRUPTED = "interrupted"
REFUSED = "refused"
NOT_ALLOWED = (
    "Updates are not allowed on this device. "
    "Set ALLOW_UPDATES=true in its fleet.conf to allow them."
)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class UpdateFailedError(AgentError):
    """The update cannot go on. `failure_class` is one the portal knows, `code` is finer."""

    def __init__(self, failure_class: str, code: str, message: str) -> None:
        super().__init__(message)
        self.failure_class = failure_class
        self.code = code


class UpdateWithdrawnError(AgentError):
    """The portal has taken the update back before anything was changed; nobody waits for it."""


def failure_of(error: Exception, step: str) -> UpdateFailedError:
    """Return what an error in a step means for the update."""
    if isinstance(error, UpdateFailedError):
        return error
    if isinstance(error, OSError):
        kind = SPACE if error.errno in _NO_SPACE else INSTALL
        return UpdateFailedError(kind, _code(error.errno), f"{step}: {error}")
    return UpdateFailedError(INSTALL, "fault", f"{step}: {type(error).__name__}: {error}")


def _code(number: Optional[int]) -> str:
    return errno.errorcode.get(number or 0, "os_error").lower()

"""What can go wrong, each with a sentence that says what to do next."""

from __future__ import annotations

from typing import Optional

STATE_NAMES = ("state", "current", "current_state", "current_status", "command_status")


class AgentError(Exception):
    """A refusal of the agent itself; `exit_code` is what the program ends with."""

    exit_code = 1


class ConfigError(AgentError):
    """The configuration cannot be used. 78 is EX_CONFIG of sysexits.h."""

    exit_code = 78


class PortalError(AgentError):
    """A request to the portal that did not end well.

    `status` is the HTTP status, or None when there was no usable answer at all; `detail` is the
    portal's own sentence, empty when it gave none.
    `retry_after_s` is what the portal asked for, in seconds.
    """

    def __init__(
        self,
        message: str,
        *,
        status: Optional[int] = None,
        code: str = "",
        detail: str = "",
        retry_after_s: Optional[float] = None,
        answer: Optional[dict[str, object]] = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.answer = answer or {}

    @property
    def is_temporary(self) -> bool:
        """True when the same request may succeed later without anybody changing anything."""
        return self.status is None or self.status in (408, 425, 429) or self.status >= 500


def present_state(error: PortalError) -> str:
    """Return the state of the command that a refusal names; empty when it names none."""
    command = error.answer.get("command")
    places = (error.answer, command if isinstance(command, dict) else {})
    for place in places:
        for name in STATE_NAMES:
            if isinstance(place.get(name), str):
                return str(place[name])
    return ""


class AgentStopping(BaseException):
    """The agent is asked to end. No Exception, so that no command takes it for its own fault."""

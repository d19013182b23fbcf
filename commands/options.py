"""How a command is to be carried out, beside what it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Self

from django.utils.dateparse import parse_datetime

from common import limits

# Names people may use instead of a number; larger goes first.
PRIORITIES = {"low": -50, "normal": 0, "high": 50, "urgent": 100}


@dataclass(frozen=True)
class Options:
    """Everything but the order itself, as the API names it; durations in seconds.

    `expires_in_s` counts from `not_before` when that lies ahead. `retries` are the further
    attempts by failure class: network, timeout, failed. `run_timeout_s` None is the default.
    """

    priority: int = 0
    expires_in_s: int = limits.COMMAND_TTL_S
    not_before: datetime | None = None
    run_timeout_s: int | None = None
    retries: Mapping[str, int] = field(default_factory=dict)
    retry_backoff_s: int = limits.COMMAND_BACKOFF_S
    expect_version: str = ""
    expect_state: str = ""
    on_mismatch: str = "drop"
    reconnect: str = "run"
    reconnect_after_s: int = limits.COMMAND_RECONNECT_S

    @classmethod
    def stored(cls, values: Mapping[str, Any]) -> Self:
        """Return the options a batch or a template kept as JSON, checked on their way in."""
        known = {one.name: values[one.name] for one in fields(cls) if one.name in values}
        if isinstance(known.get("not_before"), str):
            known["not_before"] = parse_datetime(known["not_before"])
        return cls(**known)

    def expires_at(self, now: datetime) -> datetime:
        """Return the moment from which on a command queued now is not begun any more."""
        begin = max(now, self.not_before) if self.not_before else now
        return begin + timedelta(seconds=self.expires_in_s)

    def columns(self, now: datetime) -> dict[str, Any]:
        """Return the values for a new row of Command."""
        return {
            "priority": self.priority,
            "expires_at": self.expires_at(now),
            "not_before": self.not_before if self.not_before and self.not_before > now else None,
            "run_timeout_s": self.run_timeout_s or limits.COMMAND_RUN_S,
            "retries": dict(self.retries),
            "retry_backoff_s": self.retry_backoff_s,
            "expect_version": self.expect_version,
            "expect_state": self.expect_state,
            "on_mismatch": self.on_mismatch,
            "reconnect": self.reconnect,
            "reconnect_after_s": self.reconnect_after_s,
        }

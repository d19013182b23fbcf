"""Commands, what becomes of them, and what they are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Optional, Tuple, TypedDict, Union

from fleet_client.records import Record, on_wire

Json = Mapping[str, Any]
ENDED = frozenset({"succeeded", "failed", "rejected", "timed_out", "expired", "cancelled"})


class CommandOptions(TypedDict, total=False):
    """How a command is carried out; everything may be left out. `_s` are seconds."""

    priority: Union[int, str]
    expires_in_s: int
    not_before: Union[datetime, str]
    run_timeout_s: int
    retries: Mapping[str, int]
    retry_backoff_s: int
    expect_version: str
    expect_state: str
    on_mismatch: str
    reconnect: str
    reconnect_after_s: int


@dataclass(frozen=True)
class Command(Record):
    """One order to one device. `version` grows with every change."""

    id: str = ""
    device_id: str = ""
    type: str = ""
    payload: Json = field(default_factory=dict)
    priority: int = 0
    sequence: int = 0
    disruptive: bool = False
    status: str = ""
    attempt: int = 0
    version: int = 0
    held_reason: str = ""
    created_at: Optional[datetime] = None
    created_by: str = ""
    expires_at: Optional[datetime] = None
    not_before: Optional[datetime] = None
    delivered_at: Optional[datetime] = None
    started_at: Optional[datetime] = None
    finished_at: Optional[datetime] = None
    lease_expires_at: Optional[datetime] = None
    run_deadline: Optional[datetime] = None
    step_deadline: Optional[datetime] = None
    cancel_requested_at: Optional[datetime] = None
    failure_class: str = ""
    error_code: str = ""
    error: str = ""
    result: Optional[Json] = None
    output: str = ""
    batch_id: Optional[str] = None
    retry_of: Optional[str] = None
    protocol: str = ""

    @property
    def is_done(self) -> bool:
        """Ended; it will not move any more."""
        return self.status in ENDED

    @property
    def has_succeeded(self) -> bool:
        return self.status == "succeeded"


@dataclass(frozen=True)
class CommandStatus(Record):
    """Where a command is."""

    request_id: str = ""
    device_id: str = ""
    command_type: str = ""
    protocol: str = ""
    batch_id: Optional[str] = None
    status: str = ""
    done: bool = False
    attempt: int = 0
    max_attempts: int = 1
    result: Optional[Json] = None
    error: str = ""
    error_code: str = ""
    created_at: Optional[datetime] = None
    finished_at: Optional[datetime] = None


@dataclass(frozen=True)
class PushResult(Record):
    """What became of a pushed command; `request_id` names the command."""

    success: bool = False
    request_id: Optional[str] = None
    message: str = ""
    timestamp: Optional[datetime] = None
    status: str = ""
    device_id: str = ""


@dataclass(frozen=True)
class PushBatchResult(Record):
    """The outcome of each command, in the order sent."""

    total_commands: int = 0
    successful: int = 0
    failed: int = 0
    results: Tuple[PushResult, ...] = ()
    batch_id: Optional[str] = None


@dataclass(frozen=True)
class CommandEvent(Record):
    """One step of a command's life."""

    at: Optional[datetime] = None
    source: str = ""
    from_status: str = on_wire("from")
    to_status: str = on_wire("to")
    attempt: int = 0
    code: str = ""
    detail: str = ""


@dataclass(frozen=True)
class CommandAttempt(Record):
    """One time a command was handed out."""

    number: int = 0
    delivered_at: Optional[datetime] = None
    started_at: Optional[datetime] = None
    finished_at: Optional[datetime] = None
    outcome: str = ""
    failure_class: str = ""
    error_code: str = ""
    error: str = ""


@dataclass(frozen=True)
class Timeline(Record):
    """What happened to a command, and each of its attempts."""

    events: Tuple[CommandEvent, ...] = ()
    attempts: Tuple[CommandAttempt, ...] = ()


@dataclass(frozen=True)
class Reason(Record):
    """One reason why a command waits; `until` when that is known."""

    code: str = ""
    detail: str = ""
    until: Optional[datetime] = None


@dataclass(frozen=True)
class Why(Record):
    """Whether a command waits, and for what."""

    waiting: bool = False
    reasons: Tuple[Reason, ...] = ()


@dataclass(frozen=True)
class OutputChunk(Record):
    """A piece of what an attempt printed; `index` counts from 0 within the attempt."""

    index: int = 0
    text: str = ""
    at: Optional[datetime] = None
    attempt: int = 0


@dataclass(frozen=True)
class Output(Record):
    """What an attempt printed after a certain piece."""

    attempt: int = 0
    chunks: Tuple[OutputChunk, ...] = ()
    next_index: int = 0
    status: str = ""
    done: bool = False


@dataclass(frozen=True)
class ScriptVersion(Record):
    """One text of a script, as the portal signed it."""

    id: str = ""
    version: int = 0
    interpreter: str = ""
    body: str = ""
    arguments_schema: Json = field(default_factory=dict)
    timeout_s: int = 0
    output_bytes: int = 0
    disruptive: bool = False
    key_id: str = ""
    created_at: Optional[datetime] = None
    created_by: str = ""


@dataclass(frozen=True)
class Script(Record):
    """A script devices may run, by name; `version` is the newest."""

    id: str = ""
    name: str = ""
    description: str = ""
    version: int = 0
    withdrawn_at: Optional[datetime] = None
    created_at: Optional[datetime] = None


@dataclass(frozen=True)
class CommandTemplate(Record):
    """A command an organisation saved to use again."""

    id: str = ""
    name: str = ""
    description: str = ""
    type: str = ""
    payload: Json = field(default_factory=dict)
    options: Json = field(default_factory=dict)
    created_at: Optional[datetime] = None
    created_by: str = ""

"""What a device is told to do, and what comes back."""

from commands.models.batches import (
    FINISHED,
    MOVING,
    PAUSED_REASON,
    UNENDED,
    BatchTarget,
    CommandBatch,
)
from commands.models.bundles import SupportBundle
from commands.models.commands import (
    ENDED,
    OPEN,
    TRANSITIONS,
    WAITING,
    Command,
    CommandAttempt,
    CommandEvent,
    CommandLane,
    OutputChunk,
)
from commands.models.library import CommandTemplate, Script, ScriptVersion

__all__ = [
    "ENDED",
    "FINISHED",
    "MOVING",
    "OPEN",
    "PAUSED_REASON",
    "TRANSITIONS",
    "UNENDED",
    "WAITING",
    "BatchTarget",
    "Command",
    "CommandAttempt",
    "CommandBatch",
    "CommandEvent",
    "CommandLane",
    "CommandTemplate",
    "OutputChunk",
    "Script",
    "ScriptVersion",
    "SupportBundle",
]

"""Commands and what comes back."""

from typing import Any

from tests.routes.shapes import Entry, Operation, get
from tests.world import Names


def _push(names: Names) -> dict[str, Any]:
    return {
        "device_id": names["device_id"],
        "command_type": "config",
        "payload": {"changes": {"NOTE": "x"}},
    }


PK = {"pk": "command_id"}

COMMANDS = [
    get("commands"),
    Operation(
        "commands",
        "POST",
        body=_push,
        entries=(Entry("command.queue", "command"),),
    ),
    Operation(
        "commands-batch",
        "POST",
        body=lambda names: {"commands": [_push(names)]},
        entries=(Entry("command.queue", "command"),),
    ),
    get("command", path=PK),
    Operation(
        "command",
        "PATCH",
        path={"pk": "delivered_command_id"},
        body=lambda _: {"status": "succeeded", "attempt": 1, "output": "done"},
        entries=(Entry("command.succeeded", "command", "delivered_command_id"),),
        by_device=True,
    ),
    Operation(
        "command-renew",
        "POST",
        path={"pk": "delivered_command_id"},
        body=lambda _: {"attempt": 1},
        unlogged="a sign of life; the trail of the command has what it changes",
        by_device=True,
    ),
    get("command-script", path={"pk": "script_command_id"}),
    get("command-output", path=PK),
    Operation(
        "command-output",
        "POST",
        status=202,
        path={"pk": "delivered_command_id"},
        body=lambda _: {"attempt": 1, "index": 0, "text": "a line"},
        unlogged="a piece of output is kept as such",
        by_device=True,
    ),
    get("command-script", path={"pk": "script_command_id"}, by_device=True),
    get("command-status", path=PK),
    get("command-timeline", path=PK),
    get("command-why", path=PK),
    Operation(
        "command-release",
        "POST",
        path={"pk": "held_command_id"},
        entries=(Entry("command.release", "command", "held_command_id"),),
    ),
    Operation(
        "command-cancel",
        "POST",
        path=PK,
        body=lambda _: {"reason": "no longer needed"},
        entries=(Entry("command.cancel", "command", "command_id"),),
    ),
    Operation(
        "command-retry",
        "POST",
        status=201,
        path={"pk": "ended_command_id"},
        entries=(Entry("command.queue", "command"),),
    ),
]

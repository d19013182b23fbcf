"""What a device can be told to do. Higher floors may add their own kinds when apps are ready."""

import json
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from jsonschema import Draft202012Validator

from commands.errors import PayloadRefused, UnknownKind
from common import limits

Schema = dict[str, Any]


@dataclass(frozen=True)
class CommandKind:
    """A kind of command: `schema` is what its payload must fit (JSON Schema 2020-12)."""

    name: str
    label: str
    description: str
    schema: Schema
    # Disturbs what the device does: at most one such command of a device is in flight.
    disruptive: bool = False


@dataclass(frozen=True)
class Prepared:
    """What is queued in the end. `run_timeout_s` None: as the caller or the default says."""

    payload: dict[str, Any]
    disruptive: bool
    run_timeout_s: int | None = None


class Prepare(Protocol):
    """Completes a payload that fits its schema, for devices of one organisation, or refuses."""

    def __call__(self, *, organization_id: UUID, payload: dict[str, Any]) -> Prepared: ...


_KINDS: dict[str, CommandKind] = {}
_PREPARE: dict[str, Prepare] = {}


def register(kind: CommandKind) -> None:
    """Make a kind known; its schema is checked once, here."""
    Draft202012Validator.check_schema(kind.schema)
    _KINDS[kind.name] = kind


def prepare_with(*, name: str, prepare: Prepare) -> None:
    """Let `prepare` have the last word on what is queued of the kind `name`."""
    _PREPARE[name] = prepare


def is_prepared(name: str) -> bool:
    """Say whether what is queued of the kind may hold more than what was asked for."""
    return name in _PREPARE


def kinds() -> list[CommandKind]:
    """Return every known kind by name."""
    return [_KINDS[name] for name in sorted(_KINDS)]


def validate(*, name: str, payload: dict[str, Any]) -> None:
    """Refuse an unknown kind or a payload that does not fit; the sentence names the place."""
    kind = _KINDS.get(name)
    if kind is None:
        raise UnknownKind(
            f"There is no command type “{name[:40]}”. Known: {', '.join(sorted(_KINDS))}."
        )
    size = len(json.dumps(payload, ensure_ascii=False).encode())
    if size > limits.COMMAND_PAYLOAD_BYTES:
        raise PayloadRefused(
            f"The payload has {size} bytes; at most {limits.COMMAND_PAYLOAD_BYTES} are taken."
        )
    errors = sorted(Draft202012Validator(kind.schema).iter_errors(payload), key=str)
    if errors:
        faults: dict[str, list[str]] = {}
        for error in errors[:20]:
            place = ".".join(["payload", *[str(part) for part in error.absolute_path]])
            faults.setdefault(place, []).append(error.message[:200])
        first = next(iter(faults.items()))
        raise PayloadRefused(
            f"The payload does not fit “{name}”: {first[0]}: {first[1][0]}.", errors=faults
        )


def prepared(*, name: str, organization_id: UUID, payload: dict[str, Any]) -> Prepared:
    """Validate, then return what is to be queued. Raises UnknownKind, PayloadRefused and more."""
    validate(name=name, payload=payload)
    prepare = _PREPARE.get(name)
    if prepare is not None:
        return prepare(organization_id=organization_id, payload=payload)
    return Prepared(payload=payload, disruptive=_KINDS[name].disruptive)


def _object(properties: Schema, required: list[str] | None = None) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required or [],
        "additionalProperties": False,
    }


_NAME = {"type": "string", "minLength": 1, "maxLength": limits.SHORT_CHARS}
_FLAG = {"type": "boolean"}
_UNIT = {**_NAME, "maxLength": 128, "pattern": r"^[A-Za-z0-9][A-Za-z0-9:_.@-]*$"}

register(
    CommandKind(
        name="update",
        label="Update software",
        description="Bring the device to a published version; `force` also while updates are off.",
        schema=_object({"version": _NAME, "force": _FLAG}, ["version"]),
        disruptive=True,
    )
)
register(
    CommandKind(
        name="reboot",
        label="Reboot",
        description="Restart the machine after a delay in seconds.",
        schema=_object({"delay_seconds": {"type": "integer", "minimum": 0, "maximum": 3600}}),
        disruptive=True,
    )
)
register(
    CommandKind(
        name="restart_service",
        label="Restart a service",
        description="Restart a systemd unit the device's own allow-list names.",
        schema=_object({"service": _UNIT}, ["service"]),
        disruptive=True,
    )
)
register(
    CommandKind(
        name="bundle",
        label="Collect a support bundle",
        description="Logs, configuration without secrets and system state, uploaded as tar.gz.",
        schema=_object(
            {
                "include_logs": _FLAG,
                "include_config": _FLAG,
                "include_recordings": _FLAG,
                "include_containers": _FLAG,
                "include_state": _FLAG,
            }
        ),
    )
)
register(
    CommandKind(
        name="config",
        label="Change the agent's configuration",
        description="Set keys of fleet.conf; all or none, checked by the device.",
        schema=_object(
            {
                "changes": {
                    "type": "object",
                    "minProperties": 1,
                    "maxProperties": 32,
                    "propertyNames": {"pattern": "^[A-Z][A-Z0-9_]{0,63}$"},
                    "additionalProperties": {"type": "string", "maxLength": 1024},
                }
            },
            ["changes"],
        ),
        disruptive=True,
    )
)
register(
    CommandKind(
        name="run_script",
        label="Run a stored script",
        description="Run a script the organisation stored and the portal signed.",
        schema=_object(
            {
                "script": {**_NAME, "pattern": r"^[-a-zA-Z0-9_]+$"},
                "version": {"type": "integer", "minimum": 1, "maximum": limits.INT_MAX},
                "arguments": {
                    "type": "object",
                    "maxProperties": 32,
                    "additionalProperties": {"type": ["string", "number", "boolean"]},
                },
            },
            ["script"],
        ),
    )
)
register(
    CommandKind(
        name="ping",
        label="Ping",
        description="Answer that the agent is there and works.",
        schema=_object({}),
    )
)
register(
    CommandKind(
        name="collect_logs",
        label="Collect logs",
        description="Lines of the journal: of one unit, since a moment (2h, 30m or RFC 3339).",
        schema=_object(
            {
                "unit": _UNIT,
                "since": {
                    "type": "string",
                    "maxLength": 40,
                    "pattern": r"^(\d{1,6}[smhd]|\d{4}-\d\d-\d\dT[0-9:.]{5,15}(Z|[+-]\d\d:\d\d))$",
                },
                "lines": {"type": "integer", "minimum": 1, "maximum": limits.LOG_LINES_MAX},
            }
        ),
    )
)
register(
    CommandKind(
        name="drift_check",
        label="Check for drift",
        description="Compare files with what they should be: those named, or all the agent knows.",
        schema=_object(
            {
                "paths": {
                    "type": "array",
                    "maxItems": 64,
                    "items": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": limits.LINE_CHARS,
                        "pattern": "^/",
                    },
                }
            }
        ),
    )
)

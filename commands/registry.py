"""What a device can be told to do. Higher floors may add their own kinds when apps are ready."""

from dataclasses import dataclass
from typing import Any

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


_KINDS: dict[str, CommandKind] = {}


def register(kind: CommandKind) -> None:
    """Make a kind known; its schema is checked once, here."""
    Draft202012Validator.check_schema(kind.schema)
    _KINDS[kind.name] = kind


def kinds() -> list[CommandKind]:
    """Return every known kind by name."""
    return [_KINDS[name] for name in sorted(_KINDS)]


def validate(*, name: str, payload: dict[str, Any]) -> None:
    """Refuse an unknown kind or a payload that does not fit; the sentence names the place."""
    kind = _KINDS.get(name)
    if kind is None:
        raise UnknownKind(f"There is no command type “{name}”. Known: {', '.join(sorted(_KINDS))}.")
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


def _object(properties: Schema, required: list[str] | None = None) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required or [],
        "additionalProperties": False,
    }


_NAME = {"type": "string", "minLength": 1, "maxLength": limits.SHORT_CHARS}

register(
    CommandKind(
        name="update",
        label="Update software",
        description="Bring the device to a version. Needs releases; agents refuse it until then.",
        schema=_object({"version": _NAME, "force": {"type": "boolean"}}, ["version"]),
    )
)
register(
    CommandKind(
        name="reboot",
        label="Reboot",
        description="Restart the machine after a delay in seconds.",
        schema=_object({"delay_seconds": {"type": "integer", "minimum": 0, "maximum": 3600}}),
    )
)
register(
    CommandKind(
        name="restart_service",
        label="Restart a service",
        description="Restart a systemd unit the device's own allow-list names.",
        schema=_object(
            {"service": {**_NAME, "maxLength": 128, "pattern": r"^[A-Za-z0-9][A-Za-z0-9:_.@-]*$"}},
            ["service"],
        ),
    )
)
register(
    CommandKind(
        name="bundle",
        label="Collect a support bundle",
        description="Logs, configuration without secrets and system state, uploaded as tar.gz.",
        schema=_object(
            {
                "include_logs": {"type": "boolean"},
                "include_config": {"type": "boolean"},
                "include_recordings": {"type": "boolean"},
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
    )
)

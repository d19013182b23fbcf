"""The signed text of a script: fetched, checked against the signature and against the order."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from fleet_agent.commands.base import CommandRefusedError, Context
from fleet_agent.errors import PortalError
from fleet_agent.pace import Backoff
from fleet_agent.signing import KeyRing, SignatureRefusedError

# The first program of each line that this machine has runs the script.
INTERPRETERS = {
    "sh": ("/bin/sh", "/usr/bin/sh"),
    "bash": ("/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash"),
    "python3": ("/usr/bin/python3", "/usr/local/bin/python3"),
}
MAX_TIMEOUT_S = 86_400
MAX_OUTPUT_BYTES = 4 * 1024 * 1024
MAX_ARGUMENTS = 100
MAX_ARGUMENT_CHARS = 16_384
FETCH_TRIES = 5
_ARGUMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


@dataclass(frozen=True)
class ScriptDocument:
    """A script whose signature was right; `timeout_s` in seconds."""

    name: str
    version: int
    interpreter: str
    body: str
    timeout_s: int
    output_bytes: int
    arguments_schema: dict[str, Any]


def fetch_script(command_id: str, order: dict[str, Any], context: Context) -> ScriptDocument:
    """Return the script an order means.

    Raises CommandRefusedError when it is not well signed or not what was ordered, PortalError
    when it cannot be fetched.
    """
    answer = _fetched(f"/commands/{command_id}/script", context)
    texts = [answer.get(name) for name in ("document", "signature", "key_id")]
    if not all(isinstance(text, str) for text in texts):
        raise CommandRefusedError("The portal's answer holds no signed script.")
    document, signature, key_id = (str(text) for text in texts)
    ring = _ring_with(key_id, context)
    try:
        ring.verify(document, signature=signature, key_id=key_id)
    except SignatureRefusedError as refusal:
        raise CommandRefusedError(str(refusal)) from None
    fields = _parsed(document)
    _check_order(fields, order, ring)
    ring.pin_organization(str(fields["organization"]))
    return _document(fields)


def check_arguments(arguments: object) -> dict[str, Any]:
    """Return the arguments of an order: names with text, numbers or booleans.

    Raises CommandRefusedError.
    """
    if not isinstance(arguments, dict) or len(arguments) > MAX_ARGUMENTS:
        raise CommandRefusedError(f"arguments must be an object of at most {MAX_ARGUMENTS} names.")
    for name, value in arguments.items():
        if not _ARGUMENT_NAME.fullmatch(name) or not isinstance(value, (str, int, float, bool)):
            raise CommandRefusedError(
                f"{name[:80]}: an argument is a name of letters, digits and _ with a text, "
                "a number or a boolean."
            )
        if len(str(value)) > MAX_ARGUMENT_CHARS or "\x00" in str(value):
            raise CommandRefusedError(f"{name[:80]}: the value is too long or holds a zero byte.")
    return arguments


def check_against_schema(arguments: dict[str, Any], schema: dict[str, Any]) -> None:
    """Check what the portal has checked before: no unknown, no missing, no wrong type.

    Raises CommandRefusedError.
    """
    listed = schema.get("properties")
    properties = listed if isinstance(listed, dict) else {}
    required = schema.get("required")
    missing = [name for name in required or [] if name not in arguments]
    unknown = [name for name in arguments if name not in properties] if properties else []
    wrong = [name for name, value in arguments.items() if not _fits(value, properties.get(name))]
    if missing or unknown or wrong:
        raise CommandRefusedError(
            f"The arguments do not fit the script: missing {missing}, unknown {unknown}, "
            f"of another type {wrong}."
        )


def interpreter_path(name: str) -> str:
    """Return the program that runs scripts of this kind. Raises CommandRefusedError."""
    for path in INTERPRETERS.get(name, ()):
        if Path(path).exists():
            return path
    known = ", ".join(INTERPRETERS)
    raise CommandRefusedError(
        f"This device does not run {name[:40]!r} scripts: not one of {known}, or not installed."
    )


def _fetched(path: str, context: Context) -> dict[str, Any]:
    backoff = Backoff(base_s=1.0, cap_s=10.0)
    while True:
        context.check_cancelled()
        try:
            return context.portal.call("GET", path)
        except PortalError as error:
            delay_s = backoff.delay_s(error)
            if not error.is_temporary or backoff.failures >= FETCH_TRIES:
                raise
            context.pause(delay_s)


def _ring_with(key_id: str, context: Context) -> KeyRing:
    """Return the pinned keys, asking the portal for its keys when this one is not among them."""
    ring = KeyRing(context.state_dir)
    if key_id in ring.keys:
        return ring
    config = _fetched(context.portal.device_path("config"), context)
    nested = config.get("config")
    ring.offer(nested if isinstance(nested, dict) else config)
    return ring


def _parsed(document: str) -> dict[str, Any]:
    try:
        fields = json.loads(document)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise CommandRefusedError("The signed script is no JSON object.")
    return fields


def _check_order(fields: dict[str, Any], order: dict[str, Any], ring: KeyRing) -> None:
    """A signature proves who wrote a script, not that it is the one that was asked for."""
    if fields.get("name") != order["script"]:
        raise CommandRefusedError("The portal sent another script than the one that was ordered.")
    wanted: Optional[int] = order["version"]
    if wanted is not None and fields.get("version") != wanted:
        raise CommandRefusedError(
            f"The portal sent version {fields.get('version')!r} of the script, not {wanted}."
        )
    organization = fields.get("organization")
    if not isinstance(organization, str) or not organization:
        raise CommandRefusedError("The signed script names no organisation.")
    if ring.organization not in ("", organization):
        raise CommandRefusedError("The script belongs to another organisation than this device.")


def _document(fields: dict[str, Any]) -> ScriptDocument:
    try:
        schema = fields.get("arguments_schema")
        return ScriptDocument(
            name=str(fields["name"]),
            version=int(fields["version"]),
            interpreter=str(fields["interpreter"]),
            body=str(fields["body"]),
            timeout_s=min(max(1, int(fields["timeout_s"])), MAX_TIMEOUT_S),
            output_bytes=min(max(0, int(fields["output_bytes"])), MAX_OUTPUT_BYTES),
            arguments_schema=schema if isinstance(schema, dict) else {},
        )
    except (KeyError, TypeError, ValueError):
        raise CommandRefusedError("The signed script lacks a field.") from None


def _fits(value: object, schema: object) -> bool:
    kind = schema.get("type") if isinstance(schema, dict) else None
    if not isinstance(kind, str) or kind not in _TYPES:
        return True
    return isinstance(value, _TYPES[kind]) and isinstance(value, bool) == (kind == "boolean")

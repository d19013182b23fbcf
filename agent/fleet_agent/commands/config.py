"""config: change the few keys that the portal may change, all of them or none."""

from __future__ import annotations

from typing import Any, ClassVar, Optional

from fleet_agent import conffile
from fleet_agent.commands.base import (
    RESUME,
    CommandRefusedError,
    CommandType,
    Context,
    Outcome,
    interrupted,
)
from fleet_agent.errors import ConfigError
from fleet_agent.journal import Entry
from fleet_agent.keys import KEYS, read_value


class Config(CommandType):
    """Payload: `changes`, an object of key and text."""

    name: ClassVar[str] = "config"

    def check(self, payload: dict[str, Any], context: Context) -> dict[str, Any]:
        changes = payload.get("changes")
        if not isinstance(changes, dict) or not changes:
            raise CommandRefusedError(
                'changes must be an object such as {"HEARTBEAT_INTERVAL": "30"}.'
            )
        problems = [problem for key, text in changes.items() for problem in _problems(key, text)]
        if problems:
            raise CommandRefusedError("Nothing was changed. " + " ".join(problems))
        return {"changes": changes}

    def facts(self, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
        values = conffile.parse(context.store.text())
        return {"old": {key: values.get(key) for key in arguments["changes"]}}

    def execute(self, entry: Entry, context: Context) -> Optional[Outcome]:
        try:
            context.store.change(dict(entry.arguments["changes"]))
        except (ConfigError, OSError) as error:
            return Outcome("failed", error=f"fleet.conf was not changed: {error}")
        return _changed(entry)

    def probe(self, entry: Entry, context: Context) -> Optional[Outcome]:
        values = conffile.parse(context.store.text())
        changes = entry.arguments.get("changes") or {}
        if changes and all(values.get(key) == text for key, text in changes.items()):
            return _changed(entry)
        old = entry.facts.get("old") or {}
        if old and all(values.get(key) == old.get(key) for key in changes):
            # The file is replaced in one step, so the change has not been made.
            return RESUME
        return interrupted("fleet.conf holds neither the old nor the new values")


def _problems(name: str, text: object) -> list[str]:
    remote = ", ".join(key.name for key in KEYS.values() if key.is_remote)
    if name not in KEYS:
        return [f"{name[:80]}: there is no such key. The portal may set: {remote}."]
    if not KEYS[name].is_remote:
        return [f"{name}: may only be changed on the device itself. The portal may set: {remote}."]
    if not isinstance(text, str) or not text:
        return [f"{name}: the value must be text. Allowed: {KEYS[name].allowed}."]
    try:
        read_value(name, text)
    except ValueError as error:
        return [str(error)]
    return []


def _changed(entry: Entry) -> Outcome:
    old = entry.facts.get("old") or {}
    changes = entry.arguments["changes"]
    return Outcome(
        "succeeded",
        result={"changed": {key: {"old": old.get(key), "new": changes[key]} for key in changes}},
    )

"""Signed scripts, and commands saved to use again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from fleet_client.binding import Group, endpoint, listing
from fleet_client.core import given, segment
from fleet_client.models import CommandOptions, CommandTemplate, Script, ScriptVersion
from fleet_client.records import Page
from fleet_client.steps import Flow, Items


def script_path(name: str, rest: str = "") -> str:
    """Return the path of a script, or of something below it."""
    return f"/scripts/{segment(name)}{rest}"


class ScriptEndpoints(Group):
    """`client.scripts`. One is run by a command `run_script` with `{"script": name}`."""

    @endpoint
    def list(self, /, **filters: Any) -> Flow[Page[Script]]:
        """Return one page."""
        return self.core.page(Script, "/scripts", params=filters)

    @listing
    def iterate(self, /, **filters: Any) -> Items[Script]:
        """Give every script."""
        return self.core.pages(Script, "/scripts", params=filters)

    @endpoint
    def get(self, name: str) -> Flow[Script]:
        """Return a script."""
        return self.core.read(Script, "GET", script_path(name))

    @endpoint
    def create(
        self, /, name: str, body: str, *, idempotency_key: Optional[str] = None, **members: Any
    ) -> Flow[Script]:
        """Store a script's first version: `interpreter`, `arguments_schema`, `timeout_s`, …"""
        sent = {"name": name, "body": body, **given(**members)}
        return self.core.read(Script, "POST", "/scripts", body=sent, key=idempotency_key)

    @endpoint
    def update(
        self, /, name: str, *, idempotency_key: Optional[str] = None, **fields: Any
    ) -> Flow[Script]:
        """Write the fields that are given; a text is changed by a new version."""
        return self.core.read(Script, "PATCH", script_path(name), body=fields, key=idempotency_key)

    @listing
    def versions(self, /, name: str, **filters: Any) -> Items[ScriptVersion]:
        """Give the texts of a script, newest first."""
        return self.core.pages(ScriptVersion, script_path(name, "/versions"), params=filters)

    @endpoint
    def add_version(
        self, /, name: str, body: str, *, idempotency_key: Optional[str] = None, **members: Any
    ) -> Flow[ScriptVersion]:
        """Store a new text of a script, with the members of `create`."""
        sent = {"body": body, **given(**members)}
        path = script_path(name, "/versions")
        return self.core.read(ScriptVersion, "POST", path, body=sent, key=idempotency_key)

    @endpoint
    def withdraw(self, name: str, *, idempotency_key: Optional[str] = None) -> Flow[Script]:
        """Let it run nowhere any more."""
        path = script_path(name, "/withdraw")
        return self.core.read(Script, "POST", path, key=idempotency_key)


class TemplateEndpoints(Group):
    """`client.templates`."""

    @endpoint
    def list(self, /, **filters: Any) -> Flow[Page[CommandTemplate]]:
        """Return one page."""
        return self.core.page(CommandTemplate, "/command-templates", params=filters)

    @listing
    def iterate(self, /, **filters: Any) -> Items[CommandTemplate]:
        """Give every template."""
        return self.core.pages(CommandTemplate, "/command-templates", params=filters)

    @endpoint
    def get(self, template_id: str) -> Flow[CommandTemplate]:
        """Return a template."""
        path = f"/command-templates/{segment(template_id)}"
        return self.core.read(CommandTemplate, "GET", path)

    @endpoint
    def create(
        self,
        name: str,
        type: str,
        payload: Optional[Mapping[str, Any]] = None,
        *,
        description: Optional[str] = None,
        options: Optional[CommandOptions] = None,
        idempotency_key: Optional[str] = None,
    ) -> Flow[CommandTemplate]:
        """Save a command to use again."""
        body = {
            "name": name,
            "type": type,
            "payload": payload or {},
            **given(description=description, options=options),
        }
        return self.core.read(
            CommandTemplate, "POST", "/command-templates", body=body, key=idempotency_key
        )

    @endpoint
    def update(
        self, /, template_id: str, *, idempotency_key: Optional[str] = None, **fields: Any
    ) -> Flow[CommandTemplate]:
        """Write the fields that are given."""
        path = f"/command-templates/{segment(template_id)}"
        return self.core.read(CommandTemplate, "PATCH", path, body=fields, key=idempotency_key)

    @endpoint
    def delete(self, template_id: str, *, idempotency_key: Optional[str] = None) -> Flow[None]:
        """Forget a template."""
        path = f"/command-templates/{segment(template_id)}"
        yield from self.core.ask("DELETE", path, key=idempotency_key)

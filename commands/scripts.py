"""Stored scripts on their way to a device: the signed document, and what an order of one means."""

import json
from typing import Any
from uuid import UUID

from django.db.models import Max, QuerySet
from jsonschema import Draft202012Validator

from accounts.tenancy import TenantQuerySet
from commands.errors import PayloadRefused, ScriptUnknown, ScriptUntrusted, ScriptWithdrawn
from commands.models import Command, Script, ScriptVersion
from commands.registry import Prepared, Schema
from common import limits, signing

KIND = "run_script"

_VALUE: Schema = {
    "type": "object",
    "required": ["type"],
    "additionalProperties": False,
    "properties": {
        "type": {"enum": ["string", "integer", "number", "boolean"]},
        "title": {"type": "string", "maxLength": limits.LINE_CHARS},
        "description": {"type": "string", "maxLength": limits.LINE_CHARS},
        "enum": {"type": "array", "minItems": 1, "maxItems": limits.JSON_KEYS},
        "minimum": {"type": "number"},
        "maximum": {"type": "number"},
        "minLength": {"type": "integer", "minimum": 0},
        "maxLength": {"type": "integer", "minimum": 0},
    },
}
# What a schema of arguments may say. Neither patterns, which can take for ever to match, nor
# references, which can point anywhere.
ARGUMENTS: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "type": {"const": "object"},
        "properties": {
            "type": "object",
            "maxProperties": limits.SCRIPT_ARGUMENTS,
            "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]{0,63}$"},
            "additionalProperties": _VALUE,
        },
        "required": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "additionalProperties": {"const": False},
    },
}


def _first_fault(schema: Schema, value: Any, place: str) -> tuple[str, str] | None:
    faults = sorted(Draft202012Validator(schema).iter_errors(value), key=str)
    if not faults:
        return None
    path = ".".join([place, *[str(part) for part in faults[0].absolute_path]])
    return path, faults[0].message[:200]


def arguments_schema(given: Schema) -> Schema:
    """Return the schema in full: arguments it does not name are refused. Raises PayloadRefused."""
    fault = _first_fault(ARGUMENTS, given, "arguments_schema")
    properties = given.get("properties", {})
    if fault is None:
        missing = sorted(set(given.get("required", [])) - set(properties))
        fault = ("arguments_schema.required", f"not defined: {missing[0]}") if missing else None
    if fault:
        raise PayloadRefused(f"{fault[0]}: {fault[1]}.", errors={fault[0]: [fault[1]]})
    return {
        "type": "object",
        "properties": properties,
        "required": given.get("required", []),
        "additionalProperties": False,
    }


def signed_document(version: ScriptVersion, *, name: str, organization: str) -> str:
    """Return the text that is signed: canonical JSON, the same for the same version for ever."""
    return json.dumps(
        {
            "arguments_schema": version.arguments_schema,
            "body": version.body,
            "interpreter": version.interpreter,
            "name": name,
            "organization": organization,
            "output_bytes": version.output_bytes,
            "timeout_s": version.timeout_s,
            "version": version.number,
        },
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )


def _version(*, organization_id: UUID, name: str, number: int | None) -> ScriptVersion:
    versions = ScriptVersion.objects.filter(organization_id=organization_id, script__name=name)
    if number is not None:
        versions = versions.filter(number=number)
    found = versions.select_related("script", "organization").order_by("-number").first()
    if found is None:
        wanted = f"{name} version {number}" if number is not None else name
        raise ScriptUnknown(f"There is no script {wanted}. Store it first.")
    if found.script.withdrawn_at is not None:
        raise ScriptWithdrawn(f"The script {name} was withdrawn. Store it under another name.")
    return found


def scripts() -> TenantQuerySet[Script]:
    """Return scripts with the number of their newest version as `version`."""
    rows: Any = Script.objects.select_related("organization")
    numbered: TenantQuerySet[Script] = rows.annotate(version=Max("versions__number"))
    return numbered


def versions_of(script: Script) -> QuerySet[ScriptVersion]:
    """Return the texts of a script, newest first."""
    return ScriptVersion.objects.filter(script_id=script.pk).order_by("-number")


def prepare(*, organization_id: UUID, payload: dict[str, Any]) -> Prepared:
    """Pin the version an order means, and check its arguments.

    Raises ScriptUnknown, ScriptWithdrawn or PayloadRefused.
    """
    version = _version(
        organization_id=organization_id, name=payload["script"], number=payload.get("version")
    )
    arguments = payload.get("arguments", {})
    fault = _first_fault(version.arguments_schema, arguments, "payload.arguments")
    if fault:
        raise PayloadRefused(
            f"The arguments do not fit {version.script.name} version {version.number}:"
            f" {fault[0]}: {fault[1]}.",
            errors={fault[0]: [fault[1]]},
        )
    return Prepared(
        payload={
            "script": version.script.name,
            "version": version.number,
            "arguments": arguments,
        },
        disruptive=version.disruptive,
        # The device ends the script in time; the rest is for saying so.
        run_timeout_s=version.timeout_s + limits.SCRIPT_REPORT_S,
    )


def script_document(*, command: Command) -> dict[str, str]:
    """Return document, signature and key id of the script a `run_script` command runs.

    Raises ScriptUnknown, ScriptWithdrawn or ScriptUntrusted: what does not bear the portal's
    signature goes to no device, whoever wrote it into the database.
    """
    version = _version(
        organization_id=command.organization_id,
        name=command.payload["script"],
        number=command.payload["version"],
    )
    document = signed_document(
        version, name=version.script.name, organization=version.organization.slug
    )
    if not signing.is_signed(document, signature=version.signature, key_id=version.key_id):
        raise ScriptUntrusted(
            f"The signature of {version.script.name} version {version.number} is not of the"
            " portal's present key over this text. Store it as a new version."
        )
    return {"document": document, "signature": version.signature, "key_id": version.key_id}

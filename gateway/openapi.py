"""Describes the gateway's own paths in the schema; the bounds come from what reads the bodies."""

from typing import Any

import msgspec

from common import limits
from gateway.heartbeat_shapes import NUMBER_MAX, Body

Json = dict[str, Any]

_DEVICE_TOKEN: Json = {"deviceToken": []}
_API_KEY: Json = {"apiKey": []}
_DEVICE_ID: Json = {
    "in": "path",
    "name": "device_id",
    "required": True,
    "schema": {"type": "string", "pattern": limits.DEVICE_ID_PATTERN},
}
_ACK: Json = {
    "type": "object",
    "description": "Sent once the heartbeat is stored.",
    "required": ["ack", "commands_pending", "target_version", "server_time", "next_heartbeat_s"],
    "properties": {
        "ack": {"const": True},
        "commands_pending": {"type": "integer", "minimum": 0},
        "target_version": {"type": ["string", "null"], "description": "What should run."},
        "server_time": {"type": "string", "format": "date-time"},
        "next_heartbeat_s": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "Seconds until the next heartbeat is expected, spread by a tenth.",
        },
    },
}
_BATCH: Json = {
    "type": "object",
    "required": ["heartbeats"],
    "properties": {
        "heartbeats": {
            "type": "array",
            "maxItems": limits.HEARTBEAT_BATCH,
            "items": {
                "anyOf": [
                    {"$ref": "#/components/schemas/Heartbeat"},
                    {"description": "Anything else is rejected in its own result."},
                ]
            },
        }
    },
}
_BATCH_RESULT: Json = {
    "type": "object",
    "required": ["accepted", "rejected", "results"],
    "properties": {
        "accepted": {"type": "integer", "minimum": 0},
        "rejected": {"type": "integer", "minimum": 0},
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "status"],
                "properties": {
                    "index": {"type": "integer", "minimum": 0},
                    "status": {"enum": ["accepted", "rejected"]},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}
_CLAIMED: Json = {
    "type": "object",
    "required": ["commands"],
    "properties": {
        "commands": {
            "type": "array",
            "maxItems": limits.CLAIM_MAX,
            "items": {
                "type": "object",
                "required": [
                    "id",
                    "type",
                    "payload",
                    "attempt",
                    "sequence",
                    "lease_expires_at",
                    "expires_at",
                    "run_timeout_s",
                    "disruptive",
                ],
                "properties": {
                    "id": {"type": "string", "format": "uuid"},
                    "type": {"type": "string"},
                    "payload": {"type": "object"},
                    "attempt": {"type": "integer", "minimum": 1},
                    "sequence": {
                        "type": "integer",
                        "description": "The device's own count, in the order of queueing.",
                    },
                    "lease_expires_at": {"type": "string", "format": "date-time"},
                    "expires_at": {"type": "string", "format": "date-time"},
                    "run_timeout_s": {"type": "integer", "minimum": 0},
                    "disruptive": {
                        "type": "boolean",
                        "description": "It disturbs the device: no other such one is in flight.",
                    },
                },
            },
        }
    },
}
_TEXT: Json = {"type": "string"}
_LAST_EVENT_ID: Json = {
    "in": "header",
    "name": "Last-Event-ID",
    "description": "The last `id` that came. What is told begins with the present truth anyway.",
    "schema": _TEXT,
}


def add_gateway_paths(result: Json, **_context: Any) -> Json:
    """Add the paths Django never sees (drf-spectacular hook)."""
    result["components"].setdefault("schemas", {}).update(_components())
    result["paths"].update(_paths())
    result["paths"] = dict(sorted(result["paths"].items()))
    return result


def _components() -> dict[str, Json]:
    return {
        **_heartbeat_components(),
        "HeartbeatAck": _ACK,
        "HeartbeatBatch": _BATCH,
        "HeartbeatBatchResult": _BATCH_RESULT,
        "ClaimedCommands": _CLAIMED,
    }


def _heartbeat_components() -> dict[str, Json]:
    (_,), found = msgspec.json.schema_components(
        [Body], ref_template="#/components/schemas/Heartbeat{name}"
    )
    heartbeat, metrics = found["Body"], found["Metrics"]
    heartbeat["description"] = (
        "A heartbeat: flat, or with `metrics`, `status` and `errors`; all members are optional and"
        " unknown ones are ignored. `memory_percent`, `temperature`, `seq`, `timestamp` and the"
        " hashes of the commit are other names of members that stand here too."
    )
    metrics["description"] = "Metrics with a meaning of their own, and any others as numbers."
    metrics["propertyNames"] = {"minLength": 1, "maxLength": limits.SHORT_CHARS}
    metrics["maxProperties"] = limits.JSON_KEYS
    metrics["additionalProperties"] = {
        "type": ["number", "null"],
        "minimum": -NUMBER_MAX,
        "maximum": NUMBER_MAX,
    }
    for schema in (heartbeat, metrics):
        schema.pop("title", None)
        schema.pop("required", None)
        for member in schema["properties"].values():
            # Leaving a member out and sending null mean the same.
            member.pop("default", None)
    return {"Heartbeat": heartbeat, "HeartbeatMetrics": metrics}


def _paths() -> dict[str, Json]:
    return {**_heartbeat_paths(), **_command_paths()}


def _heartbeat_paths() -> dict[str, Json]:
    return {
        "/api/v1/devices/{device_id}/heartbeat": _post(
            operation="devices_heartbeat",
            tag="devices",
            description="Store a heartbeat; the answer comes after the commit.",
            security=[_DEVICE_TOKEN, _API_KEY],
            body="Heartbeat",
            answer="HeartbeatAck",
            parameters=[_DEVICE_ID],
        ),
        "/api/v1/telemetry/status": _post(
            operation="telemetry_status",
            tag="telemetry",
            description="Store a heartbeat of the device the token belongs to.",
            security=[_DEVICE_TOKEN],
            body="Heartbeat",
            answer="HeartbeatAck",
        ),
        "/api/v1/telemetry/batch": _post(
            operation="telemetry_batch",
            tag="telemetry",
            description=(
                "Store heartbeats that were kept while the portal was out of reach, the oldest"
                " first. A device token speaks for its own device, an API key for every device"
                " of its organisation. Each heartbeat is accepted or rejected for itself."
            ),
            security=[_DEVICE_TOKEN, _API_KEY],
            body="HeartbeatBatch",
            answer="HeartbeatBatchResult",
        ),
    }


def _command_paths() -> dict[str, Json]:
    return {
        "/api/v1/devices/{device_id}/commands/claim": _post(
            operation="devices_commands_claim",
            tag="commands",
            description=(
                "Take queued commands, waiting up to `wait` seconds for one. Each is leased:"
                " a device that does not report by `lease_expires_at` gets it again."
            ),
            security=[_DEVICE_TOKEN],
            answer="ClaimedCommands",
            parameters=[
                _DEVICE_ID,
                _whole("wait", 0, limits.CLAIM_WAIT_MAX_S, 0, "Seconds to wait for a command."),
                _whole("max", 1, limits.CLAIM_MAX, 1, "How many commands to take at most."),
            ],
        ),
        "/api/v1/devices/{device_id}/stream": {"get": _stream()},
    }


def _stream() -> Json:
    return {
        "operationId": "devices_stream",
        "description": (
            "Server-sent events for the device. `hello` {server_time, pending} comes first;"
            " `command_queued` {pending} says that there is something to claim, `cancel_requested`"
            " {command, attempt} that a command should stop. `update_available` and `rollback`"
            " {update_id, version} say that there is an update to fetch, `pause` and `resume`"
            " {update_id} that it has to wait or goes on. `bye` {retry_ms} says when to open the"
            " next stream. A comment every"
            f" {limits.STREAM_COMMENT_S} s keeps the connection open; it ends after"
            f" {limits.STREAM_LIFE_S} s, or when the device opens another. Events of other names"
            " may be added: pass them over."
        ),
        "tags": ["commands"],
        "security": [_DEVICE_TOKEN],
        "parameters": [_DEVICE_ID, _LAST_EVENT_ID],
        "responses": {
            "200": {"description": "", "content": {"text/event-stream": {"schema": _TEXT}}}
        },
    }


def _post(
    *,
    operation: str,
    tag: str,
    description: str,
    security: list[Json],
    answer: str,
    body: str | None = None,
    parameters: list[Json] | None = None,
) -> Json:
    described: Json = {
        "operationId": operation,
        "description": description,
        "tags": [tag],
        "security": security,
        "parameters": parameters or [],
        "responses": {"200": {"description": "", "content": _json(answer)}},
    }
    if body:
        described["requestBody"] = {"required": True, "content": _json(body)}
    return {"post": described}


def _json(component: str) -> Json:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{component}"}}}


def _whole(name: str, least: int, most: int, default: int, description: str) -> Json:
    return {
        "in": "query",
        "name": name,
        "description": description,
        "schema": {"type": "integer", "minimum": least, "maximum": most, "default": default},
    }

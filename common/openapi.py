"""Adds to every operation of the schema the refusals it shares with all others."""

from typing import Any

PROBLEM = {
    "type": "object",
    "description": "Problem details (RFC 9457). `detail` says what to do; `code` never changes.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "errors": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        },
    },
}

_MEANING = {
    "400": "The request cannot be read.",
    "401": "The caller is not known.",
    "403": "The caller's role does not hold the right.",
    "404": "Nothing is there, or it belongs to somebody else.",
    "405": "The method is not offered here.",
    "409": "The state does not allow it.",
    "413": "The body is too large.",
    "415": "The content type is not read here.",
    "422": "A value was refused; `errors` names the fields.",
    "429": "Too many attempts; `Retry-After` says when to come back.",
    "503": "Overloaded or not ready; `Retry-After` says when to come back.",
}
_METHODS = {"get", "put", "post", "patch", "delete"}


def add_problems(result: dict[str, Any], **_context: Any) -> dict[str, Any]:
    """Document the problem answers on each operation (drf-spectacular hook)."""
    result["components"].setdefault("schemas", {})["Problem"] = PROBLEM
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path in result["paths"].values():
        for method, operation in path.items():
            if method not in _METHODS:
                continue
            for status, meaning in _MEANING.items():
                operation["responses"].setdefault(
                    status, {"description": meaning, "content": content}
                )
    return result

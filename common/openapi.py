"""What the operations of the schema share: refusals, and the key against acting twice."""

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

from common import limits
from common.idempotency import HEADER, KEPT, REPLAYED

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
_IDEMPOTENCY_KEY = OpenApiParameter(
    name=HEADER,
    location=OpenApiParameter.HEADER,
    type={
        "type": "string",
        "minLength": 1,
        "maxLength": limits.IDEMPOTENCY_KEY_CHARS,
        "pattern": "^[ -~]+$",
    },
    description=(
        "Makes it safe to send the request again: the same request with the same key is performed"
        f" once, and its answer is given again with `{REPLAYED}: true` for"
        f" {int(KEPT.total_seconds()) // 3600} hours. Another request with the key gets 422"
        " `idempotency_key_reused`; while the first one runs, 409 with `Retry-After`. Keys of"
        " devices are passed over: what they send has natural keys."
    ),
)
_METHODS = {"get", "put", "post", "patch", "delete"}


class PortalSchema(AutoSchema):
    """Documents the header `Idempotency-Key` where the view takes it."""

    def get_override_parameters(self) -> list[Any]:
        """Add the header to the view's own parameters."""
        takes_key = getattr(self.view, "takes_idempotency_key", None)
        own: list[Any] = super().get_override_parameters()
        return [*own, _IDEMPOTENCY_KEY] if takes_key and takes_key(self.method) else own


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

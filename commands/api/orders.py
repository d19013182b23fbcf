"""From a request's members to what services take."""

import re
from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from accounts.api.base import visible_or_404
from accounts.principals import Principal
from commands import codecs, transports
from commands.api.options import options_of
from commands.models import CommandTemplate
from commands.options import Options
from commands.services import Travel
from common.errors import InvalidInput

_etag = re.compile(r'(?:W/)?"?(\d{1,9})"?').fullmatch


def order_of(
    given: Mapping[str, Any], *, kind: str, principal: Principal
) -> tuple[str, dict[str, Any], Options]:
    """Return type, payload and options; a template named fills in what was not sent.

    `kind` is the member that holds the type. Raises ValidationError, or 404 for a template the
    caller does not see.
    """
    template: CommandTemplate | None = None
    if given.get("template"):
        template = visible_or_404(CommandTemplate.objects, principal, pk=given["template"])
    name = given.get(kind) or (template.kind if template else "")
    if not name:
        raise ValidationError({kind: ["This field is required."]})
    payload = template.payload if template and template.kind == name else {}
    return (
        name,
        given.get("payload", payload),
        options_of(given, over=template.options if template else None),
    )


def travel_of(given: Mapping[str, Any], payload: dict[str, Any]) -> Travel:
    """Return how the command travels. Raises ProtocolUnavailable and CodecUnknown."""
    return Travel(
        protocol=transports.checked(given.get("protocol") or transports.AGENT),
        codec=codecs.checked(given.get("parser_script_ref"), payload),
        metadata=given.get("metadata"),
        qos=given.get("qos"),
        retain=bool(given.get("retain")),
        confirmable=given.get("confirmable") is not False,
    )


def expected_version(request: Request, given: Mapping[str, Any]) -> int | None:
    """Return the version the caller looked at: of the body, or of the header If-Match."""
    header = request.headers.get("If-Match", "").strip()
    if given.get("expected_version") is not None or header in ("", "*"):
        return given.get("expected_version")
    found = _etag(header)
    if found is None:
        raise InvalidInput('If-Match does not name a version. Send one like "3".')
    return int(found.group(1))

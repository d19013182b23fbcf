"""Reading JSON that strangers wrote."""

import codecs
import json
import math
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

from common import limits


class BodyTooLarge(APIException):
    """The body is over its cap."""

    status_code = 413
    default_code = "too_large"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check_number(value: float) -> None:
    if isinstance(value, int):
        if not -limits.BIGINT_MAX - 1 <= value <= limits.BIGINT_MAX:
            raise ValueError("a whole number is outside 64 bits")
    elif not math.isfinite(value):
        raise ValueError("a number is too large")


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise ValueError("text holds the NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("text holds half of a surrogate pair") from None


def _check_object(value: Mapping[str, Any], depth: int) -> None:
    if len(value) > limits.JSON_KEYS:
        raise ValueError(f"an object has more than {limits.JSON_KEYS} keys")
    for key, item in value.items():
        _check_text(key)
        check_json(item, depth)


def check_json(value: Any, depth: int = 0) -> None:
    """Refuse with ValueError what JSON allows and no column can hold.

    That is: NUL, lone surrogates, whole numbers beyond 64 bits, infinities, and nesting or
    key counts over `common.limits`.
    """
    if depth > limits.JSON_DEPTH:
        raise ValueError(f"nesting is deeper than {limits.JSON_DEPTH}")
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, int | float):
        _check_number(value)
    elif isinstance(value, Mapping):
        _check_object(value, depth + 1)
    elif isinstance(value, list):
        for item in value:
            check_json(item, depth + 1)


class StrictJSONParser(BaseParser):
    """JSON with caps: what it lets through can be stored."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the value, or raise ParseError (400) or BodyTooLarge (413)."""
        raw = stream.read(limits.BODY_BYTES + 1)
        if len(raw) > limits.BODY_BYTES:
            raise BodyTooLarge(f"The body is over {limits.BODY_BYTES} bytes. Send less at once.")
        try:
            value = json.loads(codecs.decode(raw, "utf-8"), parse_constant=_refuse_constant)
            check_json(value)
        except (ValueError, RecursionError) as error:
            reason = "nesting is too deep" if isinstance(error, RecursionError) else str(error)
            raise ParseError(f"The body is not usable JSON: {reason}.") from None
        return value

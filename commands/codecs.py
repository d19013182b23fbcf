"""How a payload becomes bytes for devices that do not read the agent's JSON.

A codec is code of the portal under a name. A request names one; it never brings code or a path.
"""

import json
from collections.abc import Callable
from typing import Any

from commands.errors import CodecUnknown, PayloadRefused

Encode = Callable[[dict[str, Any]], bytes]
_CODECS: dict[str, Encode] = {}


def register(name: str, encode: Encode) -> None:
    """Make a codec known; `encode` raises ValueError for what it cannot express."""
    _CODECS[name] = encode


def names() -> list[str]:
    """Return the registered names."""
    return sorted(_CODECS)


def checked(reference: str | None, payload: dict[str, Any]) -> str:
    """Return the name of the codec a request refers to, with or without “.py”; empty for none.

    Raises CodecUnknown, and PayloadRefused when the codec cannot express the payload.
    """
    if not reference:
        return ""
    name = reference.removesuffix(".py")
    encode = _CODECS.get(name)
    if encode is None:
        raise CodecUnknown(
            f"No codec “{reference}” is registered. Registered: {', '.join(names())}."
            " Send a name, not a path."
        )
    try:
        encode(payload)
    except ValueError as error:
        raise PayloadRefused(f"The codec “{name}” cannot express the payload: {error}.") from None
    return name


def _canonical_json(payload: dict[str, Any]) -> bytes:
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


register("json", _canonical_json)

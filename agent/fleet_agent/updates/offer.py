"""What the portal offers a device, read without believing it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from fleet_agent.errors import AgentError
from fleet_agent.updates.facts import release_id_of
from fleet_agent.updates.manifest import Offered

# The kind of an update that brings a device out of trouble.
REDEPLOY = "redeploy"
# Bounds of the time an update may take, seconds.
MIN_TIMEOUT_S = 1.0
MAX_TIMEOUT_S = 7 * 86_400.0
DEFAULT_TIMEOUT_S = 3600.0
MAX_TEXT_CHARS = 64


class OfferUnusableError(AgentError):
    """The portal's offer lacks something; nothing was begun. `update_id` if that can be read."""

    def __init__(self, message: str, *, update_id: Optional[int] = None) -> None:
        super().__init__(message)
        self.update_id = update_id


@dataclass(frozen=True)
class Offer:
    """One offer. Of the bundle it says where it is; `offered` is held against the manifest."""

    update_id: int
    kind: str
    release_id: str
    version: str
    target_path: str
    bundle_url: str
    timeout_s: float
    is_paused: bool
    offered: Offered
    chaos: dict[str, Any] = field(default_factory=dict)


def offer_from_answer(answer: Mapping[str, Any]) -> Offer:
    """Return the offer of an answer. Raises OfferUnusableError."""
    try:
        chaos = answer.get("chaos")
        return Offer(
            update_id=int(answer["update_id"]),
            kind=str(answer.get("kind") or ""),
            release_id=release_id_of(answer["release_id"]),
            version=_text(answer, "version"),
            target_path=str(answer["target_path"]),
            bundle_url=str(answer["bundle"]["url"]),
            timeout_s=_timeout(answer.get("timeout_s")),
            offered=Offered(
                version=_text(answer, "version"),
                commit=str(answer.get("commit") or ""),
                role=str(answer.get("role") or ""),
                bundle_size=answer["bundle"].get("size"),
                bundle_sha256=answer["bundle"].get("sha256"),
            ),
            is_paused=answer.get("is_paused") is True,
            chaos=dict(chaos) if isinstance(chaos, Mapping) else {},
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        told = answer.get("update_id")
        raise OfferUnusableError(
            f"The portal's offer cannot be used: {error!r:.200}.",
            update_id=told if isinstance(told, int) else None,
        ) from None


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer[name]
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT_CHARS:
        raise ValueError(name)
    return value


def _timeout(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return DEFAULT_TIMEOUT_S
    return min(max(float(value), MIN_TIMEOUT_S), MAX_TIMEOUT_S)

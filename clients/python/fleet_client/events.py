"""Server-sent events out of the pieces of a body (HTML Living Standard, section 9.2)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, List, Optional

from fleet_client.errors import AnswerUnusable

MAX_EVENT_BYTES = 1024 * 1024


@dataclass(frozen=True)
class ServerEvent:
    """A whole event; `data` is the JSON object it carries."""

    id: str
    name: str
    data: Mapping[str, Any] = field(repr=False)


class EventReader:
    """Takes a stream piece by piece. `retry_ms` is when to come back, if the portal said so."""

    def __init__(self) -> None:
        self.retry_ms: Optional[int] = None
        self._rest = b""
        self._lines: List[str] = []
        self._size = 0

    def read(self, piece: bytes) -> Iterator[ServerEvent]:
        """Give the events that are whole now; comments are passed over."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._size += len(line)
            text = line.rstrip(b"\r").decode("utf-8", "replace")
            if text:
                self._lines.append(text)
            elif self._lines:
                yield from self._whole()
        if self._size + len(self._rest) > MAX_EVENT_BYTES:
            raise AnswerUnusable(f"An event is over {MAX_EVENT_BYTES // 2**20} MiB.")

    def _whole(self) -> Iterator[ServerEvent]:
        members: dict[str, List[str]] = {}
        for line in self._lines:
            name, _, value = line.partition(":")
            members.setdefault(name, []).append(value[1:] if value[:1] == " " else value)
        self._lines, self._size = [], 0
        retry = members.get("retry", [""])[-1]
        if retry.isdecimal():
            self.retry_ms = int(retry[:9])
        if "data" in members:
            data = _object("\n".join(members["data"]))
            yield ServerEvent(
                members.get("id", [""])[-1], members.get("event", ["message"])[-1], data
            )


def _object(text: str) -> Mapping[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise AnswerUnusable("An event of the portal holds no JSON object.")
    return data

"""How answers become records: known members are read, unknown ones stay in `raw`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timezone
from functools import cache
from typing import (
    Any,
    Dict,
    Generic,
    Optional,
    Tuple,
    Type,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from fleet_client.errors import AnswerUnusable

R = TypeVar("R", bound="Record")
FRACTION = re.compile(r"\.(\d+)")


@dataclass(frozen=True)
class Record:
    """A JSON object of the portal. `raw` is the object as it came, new members included."""

    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls: Type[R], data: Any) -> R:
        """Return the record; a member that is missing or null keeps its default."""
        if not isinstance(data, Mapping):
            raise AnswerUnusable(f"The portal's answer is not the object {cls.__name__}.")
        record: type = cls
        known = {
            name: convert(data[wire])
            for name, (wire, convert) in _readers(record).items()
            if data.get(wire) is not None
        }
        return cls(raw=data, **known)


@dataclass(frozen=True)
class Page(Generic[R]):
    """A part of a list. `count` is the length of the whole, where the portal counts it."""

    items: Tuple[R, ...]
    next: Optional[str] = None
    previous: Optional[str] = None
    count: Optional[int] = None

    @classmethod
    def of(cls, record: Type[R], data: Any) -> Page[R]:
        """Read the answer of a list; a bare array is a list of one page."""
        if isinstance(data, list):
            data = {"results": data}
        if not isinstance(data, Mapping) or not isinstance(data.get("results"), list):
            raise AnswerUnusable("The portal's answer is no list.")
        items = tuple(record.read(row) for row in data["results"])
        return cls(items, data.get("next"), data.get("previous"), data.get("count"))


def secret() -> Any:
    """Declare a text that is shown once and never in a repr."""
    return field(default="", repr=False, compare=False)


def on_wire(name: str) -> Any:
    """Declare a text whose name on the wire is a word of Python."""
    return field(default="", metadata={"wire": name})


def moment(value: Any) -> Optional[datetime]:
    """Read an RFC 3339 moment; None for what is none."""
    # Python 3.9 reads neither Z nor any number of digits.
    text = FRACTION.sub(lambda found: f".{found[1][:6]:0<6}", str(value)).replace("Z", "+00:00")
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=timezone.utc)


@cache
def _readers(cls: type) -> Dict[str, Tuple[str, Callable[[Any], Any]]]:
    hints = get_type_hints(cls)
    return {
        entry.name: (entry.metadata.get("wire", entry.name), _reader(hints[entry.name]))
        for entry in fields(cls)
        if entry.name != "raw"
    }


def _reader(hint: Any) -> Callable[[Any], Any]:
    if get_origin(hint) is Union:
        hint = next(choice for choice in get_args(hint) if choice is not type(None))
    if get_origin(hint) is tuple:
        inner = _reader(get_args(hint)[0])
        return lambda values: tuple(map(inner, values)) if isinstance(values, list) else ()
    if hint is datetime:
        return moment
    if isinstance(hint, type) and issubclass(hint, Record):
        return hint.read
    return _as_it_is


def _as_it_is(value: Any) -> Any:
    return value

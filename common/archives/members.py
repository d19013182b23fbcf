"""One file of an archive."""

from collections.abc import Callable
from dataclasses import dataclass

ReadSome = Callable[[int], bytes]


@dataclass(frozen=True)
class Member:
    """A regular file; `read(n)` gives its next bytes, none at its end.

    It can be read only until the next member is asked for.
    """

    name: str
    read: ReadSome
    # Bytes, as its header says, and permissions.
    size: int = 0
    mode: int = 0o644

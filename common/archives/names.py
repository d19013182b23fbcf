"""Names of members: what may be shown, stored and asked for by people."""

import re
import unicodedata

from common.archives.refusal import ArchiveRefused

_DRIVE = re.compile(r"^[A-Za-z]:")
# Control characters, and those that turn the direction of text round.
_UNSHOWABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def checked_name(name: str, *, most_chars: int) -> str:
    """Return a member's path without `./` and doubled slashes; an empty text is the root itself.

    Raises ArchiveRefused for whatever could point outside, or is not what it looks like.
    """
    shown = ascii(name[:80])
    if len(name) > most_chars or len(name.encode("utf-8", "surrogateescape")) > 1_000:
        raise ArchiveRefused(f"The name {shown}… is longer than {most_chars} characters.")
    if any(unicodedata.category(letter) in _UNSHOWABLE for letter in name):
        raise ArchiveRefused(f"The name {shown} holds a character that cannot be shown.")
    if "\\" in name:
        raise ArchiveRefused(f"The name {shown} holds a backslash.")
    if name.startswith("/") or _DRIVE.match(name):
        raise ArchiveRefused(f"The name {shown} is absolute.")
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise ArchiveRefused(f"The name {shown} leads out of the archive.")
    return "/".join(parts)

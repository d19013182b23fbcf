"""Names of members: what may be shown, stored and asked for by people."""

import re
import unicodedata

from commands.bundles.contents.refusal import ArchiveRefused
from common import limits

_DRIVE = re.compile(r"^[A-Za-z]:")
# Control characters, and those that turn the direction of text round.
_UNSHOWABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def checked_name(name: str) -> str:
    """Return a member's path without `./` and doubled slashes; an empty text is the root itself.

    Raises ArchiveRefused for whatever could point outside, or is not what it looks like.
    """
    shown = ascii(name[:80])
    if len(name) > limits.BUNDLE_NAME_CHARS or len(name.encode("utf-8", "surrogateescape")) > 1_000:
        raise ArchiveRefused(
            f"The name {shown}… is longer than {limits.BUNDLE_NAME_CHARS} characters."
        )
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

"""Output that is told while a command runs: pieces without secrets, in order, each once."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

from fleet_agent.durable import write_atomically
from fleet_agent.errors import PortalError
from fleet_agent.redaction import plain_text, remove_secrets

# The portal's bounds: characters of one piece and of all pieces of one attempt.
MAX_PIECE_CHARS = 16 * 1024
MAX_TOTAL_CHARS = 1024 * 1024
# What stands for a removed secret may be longer than the secret.
RAW_PIECE_BYTES = 12 * 1024
# Less than this without the end of a line may be half a word, perhaps half a secret.
MIN_OPEN_BYTES = 4 * 1024
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_KEY_ENDS = re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")
Read = Callable[[int, int], bytes]
Post = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass
class Cursor:
    """Where the stream stands: piece `index` is made of the bytes from `start` to `end`.

    `end` is set before the piece is sent, so the same piece is sent again after a restart.
    """

    index: int = 0
    start: int = 0
    end: int = 0
    chars: int = 0
    is_in_key: bool = False
    is_closed: bool = False


class OutputStream:
    """Follows a growing output. `read` gives up to n bytes from an offset, `post` sends a piece.

    `kept_in` names a file that lets a later run of the agent go on where this one stopped.
    """

    def __init__(self, *, read: Read, post: Post, kept_in: Optional[Path] = None) -> None:
        self._read = read
        self._post = post
        self._kept_in = kept_in
        self._cursor = _kept_cursor(kept_in)

    @property
    def is_closed(self) -> bool:
        """True when the portal takes no more of it."""
        return self._cursor.is_closed

    def is_due(self, *, is_final: bool = False) -> bool:
        """Tell whether there is a piece to send, and settle where it ends.

        `is_final` says that the output grows no more.
        """
        cursor = self._cursor
        if cursor.is_closed:
            return False
        if cursor.end <= cursor.start:
            data = self._read(cursor.start, RAW_PIECE_BYTES)
            cursor.end = cursor.start + piece_length(data, is_final=is_final)
            if cursor.end <= cursor.start:
                return False
            self._keep()
        return True

    def pump(self, *, is_final: bool = False) -> bool:
        """Send at most one piece; return whether one was due.

        Raises PortalError when the portal cannot take the piece now; it is then sent again by
        the next call.
        """
        if not self.is_due(is_final=is_final):
            return False
        cursor = self._cursor
        data = self._read(cursor.start, cursor.end - cursor.start)
        text, is_in_key = _readable(data, is_in_key=cursor.is_in_key)
        self._send(text)
        cursor.start, cursor.is_in_key = cursor.end, is_in_key
        self._keep()
        return True

    def _send(self, text: str) -> None:
        cursor = self._cursor
        if not text:
            return
        try:
            answer = self._post({"index": cursor.index, "text": text})
        except PortalError as error:
            wanted = error.answer.get("next_index")
            if error.status == 409 and isinstance(wanted, int) and wanted != cursor.index:
                # Pieces of an earlier run are there already, or some never arrived.
                cursor.index = wanted
                raise PortalError("The portal counts the pieces differently.") from None
            if not error.is_temporary:
                cursor.is_closed = True
                return
            raise
        wanted = answer.get("next_index")
        cursor.index = wanted if isinstance(wanted, int) else cursor.index + 1
        cursor.chars += len(text)
        cursor.is_closed = bool(answer.get("truncated")) or cursor.chars >= MAX_TOTAL_CHARS

    def _keep(self) -> None:
        if self._kept_in is not None:
            record = json.dumps(asdict(self._cursor)).encode()
            write_atomically(self._kept_in, record, durable=False)


def piece_length(data: bytes, *, is_final: bool) -> int:
    """Return how many of these bytes make the next piece; 0 to wait for more.

    A piece ends with a line where there is one, and never within a character.
    """
    line_end = data.rfind(b"\n") + 1
    if line_end:
        return line_end
    if not is_final and len(data) < MIN_OPEN_BYTES:
        return 0
    if is_final and len(data) < RAW_PIECE_BYTES:
        return len(data)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(data)
    # What the decoder holds back is the beginning of a character.
    return len(data) - len(decoder.getstate()[0])


def _readable(data: bytes, *, is_in_key: bool) -> tuple[str, bool]:
    text = data.decode("utf-8", "replace")
    begins = [match.end() for match in _KEY_BEGINS.finditer(text)]
    ends = [match.end() for match in _KEY_ENDS.finditer(text)]
    if is_in_key:
        text = "-----BEGIN PRIVATE KEY-----" + text
    is_still_in_key = (is_in_key or bool(begins)) and (
        not ends or (bool(begins) and begins[-1] > ends[-1])
    )
    clean = plain_text(remove_secrets(text), max_bytes=4 * MAX_PIECE_CHARS)
    return clean[:MAX_PIECE_CHARS], is_still_in_key


def _kept_cursor(path: Optional[Path]) -> Cursor:
    if path is None:
        return Cursor()
    try:
        return Cursor(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return Cursor()

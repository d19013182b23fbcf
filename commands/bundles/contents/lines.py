"""Whether a member is text, and its lines without ever holding a whole file."""

import codecs
import re
from collections.abc import Iterator

from common import limits
from common.archives.members import ReadSome

CHUNK = 64 * 1024
SNIFFED_BYTES = 8 * 1024
# Above this share of its first bytes a file is not meant to be read by people.
BINARY_SHARE = 0.1
_MAGICS = (
    *(
        b"\x1f\x8b",
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"BZh",
        b"\xfd7zXZ",
        b"7z\xbc\xaf",
        b"\x28\xb5\x2f\xfd",
    ),
    *(b"Rar!", b"\x7fELF", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"SQLite format 3", b"LPKSHHRH"),
    b"%PDF-",
)
_WIDE = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_ZEROS = re.compile(rb"\0{16,}")
_CONTROL = bytes(set(range(32)) - set(b"\t\n\r\f\b\x1b"))
# A piece of a long line ends after one of these when there is one near: no value is torn.
_SOFT_END = re.compile(r"[,;}\]>\s][^,;}\]>\s]*$")
_SOFT_CHARS = 4 * 1024
_UNPRINTABLE = {code: "\N{REPLACEMENT CHARACTER}" for code in range(32) if code != 9}


def encoding_of(start: bytes) -> str | None:
    """Return how to decode a file that begins with `start`, None when it is no text."""
    for bom, encoding in _WIDE:
        if start.startswith(bom):
            return encoding
    if start.startswith(_MAGICS) or start[257:262] == b"ustar":
        return None
    # Logs of a machine that lost power hold runs of zeros: those alone do not make a binary.
    body = _ZEROS.sub(b"", start)
    controls = len(body) - len(body.translate(None, _CONTROL))
    strange = body.decode("utf-8", "replace").count("\N{REPLACEMENT CHARACTER}")
    return None if controls + strange > BINARY_SHARE * len(body) else "utf-8"


def lines_of(start: bytes, read: ReadSome, encoding: str) -> Iterator[str]:
    """Yield lines without their ends; a long one in pieces. Control characters are replaced."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    chunk, pending = start, ""
    while chunk:
        *whole, pending = (pending + decoder.decode(chunk)).split("\n")
        for line in whole:
            yield from _pieces(line)
        while len(pending) > limits.BUNDLE_LINE_BYTES:
            piece, pending = _cut(pending)
            yield _clean(piece)
        chunk = read(CHUNK)
    pending += decoder.decode(b"", final=True)
    if pending:
        yield from _pieces(pending)


def _pieces(line: str) -> Iterator[str]:
    while len(line) > limits.BUNDLE_LINE_BYTES:
        piece, line = _cut(line)
        yield _clean(piece)
    yield _clean(line)


def _cut(line: str) -> tuple[str, str]:
    most = limits.BUNDLE_LINE_BYTES
    soft = _SOFT_END.search(line, most - _SOFT_CHARS, most)
    at = soft.start() + 1 if soft else most
    return line[:at], line[at:]


def _clean(line: str) -> str:
    line = line.rstrip("\r").removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    return line if line.isprintable() else line.translate(_UNPRINTABLE)

"""Taking secrets out of a text, line by line; some secrets are longer than a line."""

import re
from collections import Counter

from commands.bundles.contents.fixed_secrets import is_marked, lowered, mark, redact_shapes
from commands.bundles.contents.named_secrets import HINTS, redact_named, secret_names

_KEY_BEGIN = re.compile(r"-----BEGIN [A-Za-z0-9 ]*(?:PRIVATE KEY(?: BLOCK)?|Static key V\d)-----")
_KEY_END = re.compile(r"-----END [A-Za-z0-9 ]*(?:PRIVATE KEY(?: BLOCK)?|Static key V\d)-----")
_PUTTY = re.compile(r"^Private-Lines: (\d{1,3})\s*$")
# A line of a key, maybe behind what a log writes in front of it.
_KEY_LINE = re.compile(
    r"(?:^|[\s\"':\]])(?:[A-Za-z0-9+/=]{16,}|[A-Za-z0-9+/]{1,76}={0,2}|[A-Za-z-]+: \S.*)?\s*$"
)
_KEY_LINES = 400
# `password: |` and `"password":` with the value on the lines below.
_OPEN_ENDS = ("|", ">", "-", "+", ":", " ", *"123456789")
_BLOCK_FOLLOWS = re.compile(r"[:=]\s*[|>][+-]?\d?\s*$")
_VALUE_FOLLOWS = re.compile(r"[\"']\s*:\s*$")
_NAME_LINE = re.compile(
    r"""^\s*(?:-\s+)?["']?(?:name|key)["']?\s*[:=]\s*["']?[\w.\-]+["']?,?\s*$"""
)
_VALUE_LINE = re.compile(
    r"""^(?P<start>\s*["']?value["']?\s*[:=]\s*["']?)(?P<secret>[^"'\s][^"']*?)(?P<end>["']?,?\s{0,8})$"""
)
_TEXT_LINE = re.compile(r"""^(?P<start>\s*["'])(?P<secret>[^"']+)(?P<end>["'],?\s*)$""")
_OPEN_ELEMENT = re.compile(r"<([\w.:\-]+)(?:\s[^<>]*)?>\s*$")
_NETRC = re.compile(r"\b(password|passwd|account)\s+(\S+)")
_SECRETS_FILE = re.compile(r"(\S+\s+\S+\s+)(\"[^\"]*\"|\S+)")
_SPACE = re.compile(r"\s*")


class Redactor:
    """Goes through one file from top to bottom; `counts` says how often each rule struck."""

    def __init__(self, path: str) -> None:
        self.counts: Counter[str] = Counter()
        base = path.rpartition("/")[2].lower()
        self._is_netrc = "netrc" in base
        self._is_secrets_file = base.endswith(("chap-secrets", "pap-secrets"))
        self._key_lines = 0
        self._block_indent: int | None = None
        self._follows: re.Pattern[str] | None = None
        self._element = ""

    def line(self, line: str) -> str:
        """Return the line, without its end-of-line, with its secrets replaced."""
        done = self._continued(line)
        if done is not None:
            return done
        low = lowered(line)
        if "-----begin " in low or "private-lines" in low:
            line = self._key_begins(line)
        done = redact_shapes(line, low, self._count)
        for hint in HINTS:
            if hint in low:
                if line.endswith(_OPEN_ENDS) or _NAME_LINE.match(line):
                    self._look_ahead(line, low)
                done = redact_named(done, low if done is line else lowered(done), self._count)
                break
        if self._is_netrc:
            done = self._replace(_NETRC, done, "netrc")
        if self._is_secrets_file and not line.lstrip().startswith("#"):
            done = self._replace(_SECRETS_FILE, done, "password")
        return done

    def _continued(self, line: str) -> str | None:
        """Return what stands for a line that belongs to a secret begun above, else None."""
        if self._key_lines:
            return self._in_key(line)
        if self._block_indent is not None or self._follows is not None or self._element:
            return self._below(line)
        return None

    def _count(self, rule: str) -> None:
        self.counts[rule] += 1

    def _replace(self, pattern: re.Pattern[str], line: str, rule: str) -> str:
        match = pattern.search(line)
        if match is None or is_marked(match.group(2)):
            return line
        self._count(rule)
        return line[: match.start(2)] + mark(rule) + line[match.end(2) :]

    def _key_begins(self, line: str) -> str:
        """Cut a private key out of the line; one that does not end here goes on below."""
        putty = _PUTTY.match(line)
        if putty:
            self._count("private-key")
            self._key_lines = int(putty.group(1)) + 1
            return line
        begin = _KEY_BEGIN.search(line)
        while begin is not None:
            self._count("private-key")
            end = _KEY_END.search(line, begin.end())
            if end is None:
                self._key_lines = _KEY_LINES
                return line[: begin.start()] + mark("private-key")
            line = line[: begin.start()] + mark("private-key") + line[end.end() :]
            begin = _KEY_BEGIN.search(line)
        return line

    def _in_key(self, line: str) -> str | None:
        """Return what stands for a line of a key, or None when the key has ended before."""
        self._key_lines -= 1
        end = _KEY_END.search(line)
        if end is not None:
            self._key_lines = 0
            return mark("private-key") + line[end.end() :]
        if _KEY_LINE.search(line):
            return mark("private-key")
        self._key_lines = 0
        return None

    def _look_ahead(self, line: str, low: str) -> None:
        """Remember that the secret of a name in this line stands below."""
        if _NAME_LINE.match(line) and _is_secret_name(low.rstrip("\"', ")):
            self._follows = _VALUE_LINE
            return
        match = next(reversed(list(secret_names(low))), None)
        if match is not None and _BLOCK_FOLLOWS.search(line, match.start("sep")):
            self._block_indent = _indent(line)
        elif match is not None and _VALUE_FOLLOWS.search(line) and match.end() == len(line):
            self._follows = _TEXT_LINE
        else:
            element = _OPEN_ELEMENT.search(line)
            if element is not None and _is_secret_name(lowered(element.group(1))):
                self._element = f"</{element.group(1)}>"

    def _below(self, line: str) -> str | None:
        """Return what stands for a line whose name stood above, or None when it is not one."""
        if self._block_indent is not None:
            if not line.strip() or _indent(line) > self._block_indent:
                return self._gone(line)
            self._block_indent = None
            return None
        if self._element:
            if self._element in line:
                self._element = ""
                return self._gone(line) if not line.lstrip().startswith("</") else line
            return self._gone(line)
        pattern, self._follows = self._follows, None
        match = pattern.match(line) if pattern is not None else None
        if match is None or is_marked(match.group("secret")):
            return None
        self._count("named")
        return match.group("start") + mark("named") + match.group("end")

    def _gone(self, line: str) -> str:
        if not line.strip():
            return line
        self._count("named")
        return " " * _indent(line) + mark("named")


def _is_secret_name(name: str) -> bool:
    return next(secret_names(f"{name}="), None) is not None


def _indent(line: str) -> int:
    found = _SPACE.match(line)
    return found.end() if found else 0

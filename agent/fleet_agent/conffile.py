"""The text of fleet.conf: KEY=VALUE lines, read and rewritten without touching anything else."""

from __future__ import annotations

import re
from typing import Optional

from fleet_agent.errors import ConfigError

_LINE = re.compile(
    r"""^\s*(?:export\s+)?(?P<key>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*
        (?P<value>"[^"]*"|'[^']*'|[^\n]*?)
        (?P<tail>\s*|\s+\#.*)$""",
    re.VERBOSE,
)
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\"]")
MAX_BYTES = 256 * 1024


def parse(text: str) -> dict[str, str]:
    """Return every key of the file with its text; the last line of a repeated key counts.

    Empty lines and lines that start with # or ; are comments. One pair of quotes around a
    value is taken off. Raises ConfigError with the number of a line that is none of these.
    """
    values: dict[str, str] = {}
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), start=1):
        if _is_comment(line):
            continue
        match = _LINE.match(line)
        if match is None:
            raise ConfigError(f"Line {number} is not KEY=VALUE. Correct it or put a # before it.")
        values[match["key"]] = _unquoted(match["value"])
    return values


def rewrite(text: str, changes: dict[str, Optional[str]]) -> str:
    """Return the text with the keys set to new values; None takes a key out.

    Comments, unknown keys and the order stay. Raises ConfigError on a value that one line
    cannot hold.
    """
    wanted = dict(changes)
    lines = []
    for line in text.lstrip("\ufeff").splitlines():
        match = None if _is_comment(line) else _LINE.match(line)
        if match is None or match["key"] not in changes:
            lines.append(line)
            continue
        # A repeated key keeps its first place and loses the others.
        value = wanted.pop(match["key"], None)
        if value is not None:
            lines.append(f"{match['key']}={_quoted(match['key'], value)}{match['tail'].rstrip()}")
    lines += [f"{key}={_quoted(key, value)}" for key, value in wanted.items() if value is not None]
    return "\n".join(lines) + "\n"


def _is_comment(line: str) -> bool:
    stripped = line.strip()
    return not stripped or stripped[0] in "#;"


def _unquoted(value: str) -> str:
    if value[:1] == "#":
        return ""
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value.strip()


def _quoted(key: str, value: str) -> str:
    if _UNSAFE.search(value):
        raise ConfigError(f"{key}: a value may hold neither double quotes nor control characters.")
    return f'"{value}"' if re.search(r"[\s#';]", value) else value

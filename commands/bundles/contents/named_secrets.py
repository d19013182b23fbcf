"""Secrets that are known by their name: `password = …`, `"token": "…"`, `<psk>…</psk>`.

Whether a value is a secret is judged by three things: the name, what separates the two, and how
the value looks. Prose ("Password: incorrect") and references (`${DB_PASSWORD}`) stay.
"""

import re
from collections.abc import Callable, Iterator

from commands.bundles.contents.fixed_secrets import is_marked, mark

HINTS = (
    *("passw", "pass", "pwd", "secret", "token", "key", "psk", "cred", "auth", "pin", "jwt"),
    *("session", "cookie", "community"),
)
_CORES = (
    r"passw(?:or)?d|passwd|pass[_-]?phrase|pass|pwd|secret|token|credential|jwt|psk|key"
    r"|sess(?:ion)?[_-]?id|auth|pin|cookie|community"
)
# Looked for in lower case: without regard to case it would take five times as long.
_NAMED = re.compile(
    rf"(?P<core>{_CORES})(?P<suffix>[\w.\-]{{0,40}})(?P<close>[\"'\\]{{0,3}}\]?)"
    r"(?P<sep>\s*(?:=>|:=|[:=])(?![=:])\s*)"
)
_KEY_KINDS = re.compile(
    r"(?:api|access|auth|private|preshared|pre[_-]shared|encryption|signing|account|shared|master"
    r"|license|wep|wpa|storage|service|admin|host|root|session|aes|hmac|secret)[_-]?$"
)
_SURE = (
    r"passw(?:or)?d|passwd|pass[_-]?phrase|pwd|secret|token|credential|psk"
    r"|(?:api|access|private|account|encryption)[_-]?key"
)
PAIR = re.compile(
    rf"""(?:name|key)["'\\]*\s*[=:]\s*["'\\]*[\w.\-]{{0,60}}(?:{_SURE})[\w.\-]{{0,60}}["'\\]*[,;\s]+"""
    r"""["'\\]*value["'\\]*\s*[=:]\s*(?P<quote>\\?["']?)(?P<secret>[^"'\\\s,}]+)""",
    re.IGNORECASE,
)
ELEMENT = re.compile(
    rf"<(?P<name>[\w.:\-]{{0,60}}(?:{_SURE})[\w.\-]{{0,60}})(?:\s[^<>]*)?>(?P<secret>[^<>]+)</(?P=name)>",
    re.IGNORECASE,
)
# Names that speak about a secret and do not hold it.
_ABOUT = re.compile(
    r"[_.-]?(?:file(?:name)?|path|dir|type|name|ids?|count|len(?:gth)?|size|ttl|age|min|max|policy"
    r"|expir\w*|lifetime|valid\w*|url|uri|endpoint|timeout|retries|status|state|enabled|required"
    r"|changed|algorithm|prompt|hint|field|header|store|manager|provider|generator|service|socket"
    r"|mount|target|timer|slice|scope|conf|so|py|js|go|rs|c|h|mode|method|quality|attempts|limit"
    r"|usage|used|rotation|version|agent|wall|console|flags|set|auto|alg|domain|authentication)$",
    re.IGNORECASE,
)
_EMPTY = re.compile(
    r"^(?:|true|false|yes|no|on|off|null|none|nil|unset|undefined|empty|required|optional|ask|prompt"
    r"|n/?a|not|is|invalid|expired|incorrect|missing|denied|accepted|unknown|ok|failed|error|default"
    r"|disabled|enabled|present|absent|changed|rejected|anonymous|[x*.\-_#?]+|0|-1|1|\(null\)"
    r"|\(none\)|str|string|int|bool|files|compat|sss|systemd|nis|winbind|requisite|sufficient)$",
    re.IGNORECASE,
)
_ELSEWHERE = re.compile(
    r"^(?:\$|%[({sd]|\{\{|\{%|<|&|!vault|ENC\[|vault:|/(?:etc|run|var|home|root|usr|opt|srv|dev|tmp|"
    r"proc|sys|mnt|boot|lib|app|data|media)(?:/|$)|~/|\./)"
)
_CONFIG_START = re.compile(
    r"^\s*(?:[-#;]+\s*)?(?:export\s+|set\s+|setx\s+|env\s+|declare\s+-x\s+|Environment=|ENV\s+|ARG\s+"
    r"|const\s+|let\s+|var\s+)?[\"']?[\w.\-\[\]]*$"
)
# These hold spaces more often than not.
_PHRASES = re.compile(r"psk|phrase|wpa", re.IGNORECASE)
_BARE = re.compile(r"[^\s,;&\"'<>|)\]}]+")
_SMALL_WORDS = {
    "is",
    "not",
    "the",
    "for",
    "to",
    "of",
    "a",
    "was",
    "has",
    "from",
    "in",
    "with",
    "no",
}
_LETTERS = re.compile(r"^[A-Za-z]+[.!?:,;]*$")
_MORE_PAIRS = re.compile(r"\s[A-Za-z_][\w.-]{0,40}=\S")
_SECONDS = re.compile(r"^\d+(?:ms|s|m|h|d|%)?$")


def secret_names(low: str) -> Iterator[re.Match[str]]:
    """Yield where a name of a secret and what separates it from its value stand in a line."""
    match = _NAMED.search(low)
    while match is not None:
        if _names_a_secret(low, match):
            yield match
        match = _NAMED.search(low, match.start("suffix"))


def redact_named(line: str, low: str, count: Callable[[str], None]) -> str:
    """Return the line without the secrets known by their name; `low` is it in lower case."""
    pieces, done = [], 0
    for match in secret_names(low):
        found = _secret_span(line, match)
        if found is not None and found[0] >= done:
            start, end = found
            pieces += [line[done:start], mark(_rule(match))]
            done = end
            count(_rule(match))
    line = "".join(pieces) + line[done:] if pieces else line
    if "value" in low or "</" in low:
        line = _pairs(line, count)
    return line


def _names_a_secret(low: str, match: re.Match[str]) -> bool:
    """Say whether the whole name is one of a secret, not just a part of it."""
    core, suffix = match.group("core"), match.group("suffix")
    if _ABOUT.search(suffix) and not (core == "secret" and suffix == "_id"):
        return False
    if core == "key":
        return _KEY_KINDS.search(low, max(0, match.start() - 20), match.start()) is not None
    if core in {"auth", "pin", "pass"} and suffix[:1].isalpha():
        return False
    if core in {"auth", "pin"}:
        return not low[max(0, match.start() - 1) : match.start()].isalpha()
    return True


def _pairs(line: str, count: Callable[[str], None]) -> str:
    """Take out of `name=…password… value=…` and of XML elements."""
    for pattern in (PAIR, ELEMENT):
        for match in reversed(list(pattern.finditer(line))):
            secret = match.group("secret")
            if not _is_harmless(secret.strip()):
                line = line[: match.start("secret")] + mark("named") + line[match.end("secret") :]
                count("named")
    return line


def _rule(match: re.Match[str]) -> str:
    core = match.group("core")
    if core.startswith(("passw", "pass", "pwd", "pin")):
        return "passphrase" if "phrase" in core else "password"
    if "key" in core:
        return "key"
    known = {"psk": "passphrase", "token": "token", "jwt": "token", "secret": "secret"}
    return known.get(core, "cookie" if core.startswith(("cookie", "sess")) else "credential")


def _secret_span(line: str, match: re.Match[str]) -> tuple[int, int] | None:
    """Return where the value of a name stands when it is a secret."""
    begin = match.start()
    while begin and (line[begin - 1].isalnum() or line[begin - 1] in "_.-"):
        begin -= 1
    name = line[begin : match.start() + len(match.group("core") + match.group("suffix"))]
    start = match.end()
    quote = _quote_at(line, start)
    if not quote and not match.group("close") and match.group("sep") == ":":
        # Without a space after it a colon separates rarely: libsecret:arm64.
        bare = _BARE.match(line, start)
        if bare is None or len(bare.group()) < 8 or bare.group().isalpha():
            return None
    before = line[begin - 1] if begin else ""
    if quote:
        end = _closing(line, start + len(quote), quote)
        start += len(quote)
    elif before in {'"', "'"} and not match.group("close"):
        # The quotes stand around name and value: Environment="PASSWORD=a b".
        end = _closing(line, start, before)
    elif line.startswith("[", start):
        return _list_span(line, start)
    else:
        end = _bare_end(line, start, begin, match)
    value = line[start:end]
    return None if end <= start or _is_no_secret(name, value, quoted=bool(quote)) else (start, end)


def _quote_at(line: str, start: int) -> str:
    for quote in ('\\"', "\\'", '"', "'", "`"):
        if line.startswith(quote, start):
            return quote
    return ""


def _closing(line: str, start: int, quote: str) -> int:
    at = line.find(quote, start)
    while at > start and line[at - 1] == "\\" and len(quote) == 1 and line[at - 2] != "\\":
        at = line.find(quote, at + 1)
    return at if at >= 0 else len(line.rstrip("\r\n"))


def _list_span(line: str, start: int) -> tuple[int, int] | None:
    end = line.find("]", start)
    inside = line[start + 1 : end] if end > 0 else ""
    quoted = inside.strip().startswith(('"', "'")) and len(inside.strip()) > 2
    return (start + 1, end) if quoted and not is_marked(line[start:]) else None


def _bare_end(line: str, start: int, begin: int, match: re.Match[str]) -> int:
    """Return where a value without quotes ends: at the line's end in a file of settings."""
    is_setting = _CONFIG_START.match(line[:begin]) and not _MORE_PAIRS.search(line, start)
    if is_setting or _PHRASES.search(match.group("core")):
        value = line[start:].rstrip()
        if ":" in match.group("sep") and _is_prose(value):
            return start
        return start + len(value.rstrip(","))
    bare = _BARE.match(line, start)
    if bare is None:
        return start
    spaced = ":" in match.group("sep") and match.group("sep").endswith(" ")
    is_word = _LETTERS.match(bare.group()) is not None and len(bare.group()) < 16
    return start if spaced and is_word else bare.end()


def _is_prose(value: str) -> bool:
    """Say whether a value reads like the rest of a sentence."""
    words = value.split()
    if len(words) > 1:
        # A phrase of four plain words may be a passphrase; a sentence has small or marked words.
        told = {
            "is",
            "not",
            "the",
            "for",
            "to",
            "of",
            "a",
            "was",
            "has",
            "from",
            "in",
            "with",
            "no",
        }
        return any(word.lower().strip(".,:") in told for word in words) or bool(
            _EMPTY.match(words[0].strip(".,:;"))
        )
    return _LETTERS.match(value) is not None and len(value) < 16 and value.endswith((".", ":", ","))


def _is_no_secret(name: str, value: str, *, quoted: bool) -> bool:
    if _is_harmless(value.strip().strip(",;")):
        return True
    if name.lower().endswith(("tokens", "keys", "passwords", "secrets", "cookies")):
        return not quoted and _SECONDS.match(value) is not None
    if name.lower().endswith("auth"):
        return len(value) < 8
    if name.lower().endswith("pin"):
        return not (value.isdigit() and 4 <= len(value) <= 12)
    return not quoted and value.startswith(("{", "[", "|", ">"))


def _is_harmless(value: str) -> bool:
    return bool(is_marked(value) or _EMPTY.match(value) or _ELSEWHERE.match(value))

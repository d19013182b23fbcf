"""Secrets that are known by their own shape, whatever stands around them."""

import re
import string
from collections.abc import Callable
from dataclasses import dataclass

_LOWER = {ord(letter): letter.lower() for letter in string.ascii_uppercase}


def lowered(line: str) -> str:
    """Return the line in lower case, every character in its place."""
    return line.lower() if line.isascii() else line.translate(_LOWER)


def mark(rule: str) -> str:
    """Return what stands where a secret stood."""
    return f"[redacted:{rule}]"


@dataclass(frozen=True)
class Shape:
    """A secret's shape; a line is looked at only when it holds one of `hints` (lower case).

    The group `secret` is what goes; without one it is the whole match.
    """

    rule: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]


def _shape(rule: str, hints: str, pattern: str, flags: int = 0) -> Shape:
    return Shape(rule, tuple(hints.split()), re.compile(pattern, flags))


_VENDORS = "|".join(
    [
        r"(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ANVA)[A-Z0-9]{16}",
        r"gh[pousr]_[A-Za-z0-9]{30,}",
        r"github_pat_[A-Za-z0-9_]{22,}",
        r"gl(?:pat|dt|rt|ft|soat|cbt|ptt)-[A-Za-z0-9_-]{16,}",
        r"xox[abeprs]-[A-Za-z0-9-]{10,}",
        r"xapp-[A-Za-z0-9-]{10,}",
        r"(?:[srp]k_(?:live|test)|whsec)_[A-Za-z0-9]{10,}",
        r"AIza[A-Za-z0-9_-]{35}",
        r"ya29\.[A-Za-z0-9_-]{20,}",
        r"npm_[A-Za-z0-9]{36}",
        r"pypi-[A-Za-z0-9_-]{40,}",
        r"SG\.[A-Za-z0-9_-]{16,200}\.[A-Za-z0-9_-]{16,}",
        r"dop_v1_[0-9a-f]{64}",
        r"dckr_pat_[A-Za-z0-9_-]{20,}",
        r"hf_[A-Za-z0-9]{30,}",
        r"sk-[A-Za-z0-9_-]{24,}",
        r"hvs\.[A-Za-z0-9_-]{20,}",
        r"tskey-[a-z]+-[A-Za-z0-9-]{10,}",
    ]
)

SHAPES = [
    _shape(
        "authorization",
        "authorization",
        r"""authorization["'\\]*\s*(?:=>|[:=])\s*["'\\]*(?P<secret>(?:basic|bearer|token|apikey|negotiate)\s+[^\s"'\\]+|(?:digest|aws4-hmac-sha256|oauth)\s+[^\r\n]+|[^\s"'\\]+)""",
        re.IGNORECASE,
    ),
    _shape(
        "authorization",
        "bearer",
        r"\bbearer\s+(?P<secret>[A-Za-z0-9._~+/=-]{16,})",
        re.IGNORECASE,
    ),
    _shape(
        "cookie",
        "cookie",
        r"""\b(?:set-)?cookie["'\\]*\s*:\s*["'\\]*(?P<secret>[^\s"'\\][^"'\\\r\n]*)""",
        re.IGNORECASE,
    ),
    _shape("url", "://", r"""://[^\s/:@"'<>]*:(?P<secret>[^\s/"'<>]+)@"""),
    _shape("url", "://", r"://(?P<secret>[A-Za-z0-9_-]{20,})@"),
    _shape(
        "url",
        "hooks.slack.com discord",
        r"(?:hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks)/(?P<secret>[\w/-]{16,})",
    ),
    _shape("dsn", "@tcp( @unix(", r"""\b[\w.-]+:(?P<secret>[^\s:@"']+)@(?:tcp|unix)\("""),
    _shape("jwt", "eyj", r"\beyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]*"),
    _shape(
        "vendor-token",
        "akia asia agpa aida aroa anpa anva ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- gldt-"
        " glrt- glft- glsoat- glcbt- glptt- xox xapp- _live_ _test_ whsec_ aiza ya29. npm_ pypi-"
        " sg. dop_v1_ dckr_pat_ hf_ sk- hvs. tskey-",
        rf"(?<![A-Za-z0-9_])(?:{_VENDORS})",
    ),
    _shape("bot-token", ":aa", r"\b\d{8,10}:AA[A-Za-z0-9_-]{33}\b"),
    _shape("fleet-token", "et_ fk_ dt_", r"(?<![A-Za-z0-9_])(?:et|fk|dt)_[A-Za-z0-9_-]{32,}"),
    _shape(
        "password-hash",
        "$",
        r"\$(?:1|2[abxy]?|5|6|7|y|gy|apr1|argon2(?:id?|d)|scrypt|sha1)\$[^\s:\"',]{8,}"
        r"|\bpbkdf2_sha\d+\$\d+\$[^\s:\"',]{8,}",
    ),
    _shape(
        "password-hash", "sha} md5} crypt}", r"\{(?:S?SHA\d*|S?MD5|CRYPT)\}[A-Za-z0-9+/=$.]{8,}"
    ),
    _shape(
        "password-hash",
        ":::",
        r"^[a-z_][a-z0-9_-]*:(?P<secret>[A-Za-z0-9./]{13}|_[A-Za-z0-9./]{19}):\d{4,6}:\d*:",
    ),
    _shape(
        "hex-token",
        "token key secret device credential",
        r"(?:token|key|secret|device|credential)s?[\"'\\]*(?:\s+(?:is|was|of))?[\s:=>\"'\\]{1,6}"
        r"(?P<secret>[0-9a-f]{64})\b",
        re.IGNORECASE,
    ),
    _shape(
        "netrc",
        "login",
        r"\blogin\s+\S+\s+password\s+(?P<secret>\S+)",
    ),
    _shape(
        "password",
        "username",
        r"\busername\s+\S+\s+(?:password|secret)\s+(?:\d\s+)?(?P<secret>\S+)",
        re.IGNORECASE,
    ),
    _shape(
        "password",
        "bindpw rootpw requirepass masterauth ldap_bind community",
        r"^\s*(?:bindpw|rootpw|requirepass|masterauth|r[ow]community6?)\s+(?P<secret>\S+)",
        re.IGNORECASE,
    ),
    _shape(
        "command-line",
        "--pass --secret --token --api --psk -password -token -secret",
        r"""(?:^|\s)--?[a-z-]*(?:password|passwd|passphrase|secret|token|api-?key|psk)\s+"""
        r"""(?P<secret>"[^"]+"|'[^']+'|[^\s"'-]\S*)""",
        re.IGNORECASE,
    ),
    _shape(
        "command-line",
        "mysql mariadb sshpass curl",
        r"""\b(?:mysql\w*|mariadb\S*)\s(?:[^|;]{0,300}?\s)?-p(?P<secret>[^\s'"]+)""",
    ),
    _shape("command-line", "sshpass", r"""\bsshpass\s+-p\s*(?P<secret>"[^"]+"|'[^']+'|\S+)"""),
    _shape(
        "command-line",
        "curl",
        r"""\bcurl\s[^|;]{0,300}?(?:-u|--user)[\s=]*["']?[^\s:"']+:(?P<secret>[^\s"']+)""",
    ),
]


_BY_HINT = [(hint, place) for place, shape in enumerate(SHAPES) for hint in shape.hints]


def redact_shapes(line: str, low: str, count: Callable[[str], None]) -> str:
    """Return the line without the secrets known by their shape; `low` is it in lower case."""
    places = set()
    # A loop of its own: this runs for every line, and `any` would cost three times as much.
    for hint, place in _BY_HINT:
        if hint in low:
            places.add(place)
    for place in sorted(places):
        line = _without(line, SHAPES[place], count)
    return line


def _without(line: str, shape: Shape, count: Callable[[str], None]) -> str:
    def replaced(match: re.Match[str]) -> str:
        group = "secret" if "secret" in shape.pattern.groupindex else 0
        secret = match.group(group)
        if is_marked(secret) or (group and secret.startswith(("$", "{", "%"))):
            return match.group(0)
        count(shape.rule)
        start, end = match.start(group) - match.start(), match.end(group) - match.start()
        whole = match.group(0)
        return whole[:start] + mark(shape.rule) + whole[end:]

    return shape.pattern.sub(replaced, line)


def is_marked(text: str) -> bool:
    """Say whether a secret was removed here before, by the device or by an earlier rule."""
    return text.lstrip("\"'").startswith(("[redacted", "[removed")) or not text.strip("*")

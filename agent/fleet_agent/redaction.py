"""Keeping secrets out of logs, command output and support bundles."""

from __future__ import annotations

import re

MARK = "[removed]"
# Shorter strings would turn ordinary words of a log into marks.
MIN_SECRET_LENGTH = 12

_PATTERNS = (
    re.compile(
        r"(?i)((?:password|passwd|secret|token|api[_-]?key|psk)\b[\"']?\s*[=:]\s*)"
        r"(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s,;&]+)"
    ),
    re.compile(r"(?i)(\bBearer\s+)[\w.~+/=-]{8,}"),
    re.compile(r"()\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),
    re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://[^\s/:@]{0,256}:)[^\s/@]{1,512}(?=@)"),
    re.compile(
        r"()-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    ),
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\))")


class Redactor:
    """The secrets this process has seen."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()

    def add(self, secret: str | None) -> None:
        if secret and len(secret) >= MIN_SECRET_LENGTH:
            self._secrets.add(secret)

    def clean(self, text: str) -> str:
        """Return the text without the secrets this process knows."""
        for secret in tuple(self._secrets):
            text = text.replace(secret, MARK)
        return text


SECRETS = Redactor()


def remove_secrets(text: str) -> str:
    """Return the text without known secrets and without what looks like one."""
    text = SECRETS.clean(text)
    for pattern in _PATTERNS:
        text = pattern.sub(lambda match: match.group(1) + MARK, text)
    return text


def plain_text(text: str, *, max_bytes: int) -> str:
    """Return text without control characters and known secrets, its end when it is too long.

    The end is kept because that is where a failing program says why.
    """
    text = _ANSI.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    text = SECRETS.clean(_CONTROL.sub("", text))
    raw = text.encode("utf-8", "replace")
    if len(raw) <= max_bytes:
        return raw.decode()
    note = f"[the first {len(raw) - max_bytes} bytes and more are left out]\n"
    return note + raw[-(max_bytes - len(note)) :].decode("utf-8", "ignore")

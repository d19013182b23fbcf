"""Reading the environment: a bad value stops the start and is named, with what is allowed."""

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

_WORDS = {"1": True, "true": True, "yes": True, "on": True}
_WORDS |= {"0": False, "false": False, "no": False, "off": False}


def text(name: str, default: str | None = None) -> str:
    """Return NAME, or the content of the file NAME_FILE points at, or the default."""
    if name in os.environ:
        return os.environ[name]
    path = os.environ.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE cannot be read: {error.strerror}.") from None
    if default is None:
        raise ImproperlyConfigured(f"Set {name} (or {name}_FILE): it has no default.")
    return default


def flag(name: str, *, default: bool) -> bool:
    """Return NAME as yes or no."""
    word = text(name, "1" if default else "0").lower()
    if word not in _WORDS:
        raise ImproperlyConfigured(f"{name} is “{word}”; allowed: {', '.join(_WORDS)}.")
    return _WORDS[word]


def number(name: str, default: int, *, least: int = 0, most: int = 2**31 - 1) -> int:
    """Return NAME as a whole number within bounds."""
    word = text(name, str(default))
    if not word.isdigit() or not least <= int(word) <= most:
        raise ImproperlyConfigured(f"{name} is “{word}”; allowed: {least} to {most}.")
    return int(word)


def words(name: str, default: str = "") -> list[str]:
    """Return NAME as a list of words parted by commas."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]

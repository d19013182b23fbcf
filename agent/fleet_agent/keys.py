"""Every key of fleet.conf: its type, bounds, default, and who may change it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Union
from urllib.parse import urlsplit

DEVICE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
UNIT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9:_.@\\-]{0,127}")
TOKEN = re.compile(r"[A-Za-z0-9_-]{32,128}")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
# What the owner of a device lets vouch for an update; see docs/decisions/0010-trust.md.
TRUSTS = ("general", "staged")
MAX_SERVICES = 100
MAX_DRIFT_PATHS = 100

Value = Union[str, int, bool, tuple[str, ...], None]


@dataclass(frozen=True)
class Key:
    """One key. `read` turns text into a value or raises ValueError; `allowed` says what it takes.

    `is_remote` marks the few keys the portal may change: none of them widens what the portal
    may do to this machine. `is_secret` keeps the value out of every output.
    """

    name: str
    read: Callable[[str], Value]
    allowed: str
    default: Value
    meaning: str
    is_remote: bool = False
    is_secret: bool = False


def _boolean(text: str) -> bool:
    word = text.lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise ValueError


def _number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return read


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError
        return text

    return read


def _url(text: str) -> str:
    parts = urlsplit(text)
    has_port = parts.port is None or parts.port > 0
    if parts.scheme not in ("http", "https") or not parts.hostname or not has_port:
        raise ValueError
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError
    return text.rstrip("/")


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError
    return text


def _log_level(text: str) -> str:
    if text.upper() not in LOG_LEVELS:
        raise ValueError
    return text.upper()


def _trust(text: str) -> str:
    if text.lower() not in TRUSTS:
        raise ValueError
    return text.lower()


def _interval_or_off(low: int, high: int) -> Callable[[str], int]:
    read = _number(low, high)
    return lambda text: 0 if text == "0" else read(text)


def _services(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    bad = [name for name in names if name != "*" and not UNIT_NAME.fullmatch(name)]
    if bad or len(names) > MAX_SERVICES:
        raise ValueError
    return names


def _paths(text: str) -> tuple[str, ...]:
    paths = tuple(path.strip() for path in text.split(",") if path.strip())
    if len(paths) > MAX_DRIFT_PATHS or not all(is_plain_path(path) for path in paths):
        raise ValueError
    return paths


def is_plain_path(text: str) -> bool:
    """Tell whether this is an absolute path without steps upwards."""
    return text.startswith("/") and ".." not in text.split("/") and text.isprintable()


_LONG_WORD = "32 to 128 letters, digits, '-' or '_'"

KEYS: dict[str, Key] = {
    key.name: key
    for key in (
        Key(
            "FLEET_ENABLED",
            _boolean,
            "true or false",
            default=True,
            meaning="false: the agent runs but does nothing",
        ),
        Key(
            "FLEET_URL",
            _url,
            "an http:// or https:// address without a user name, query or fragment",
            None,
            "base address of the portal",
        ),
        Key(
            "DEVICE_ID",
            _matching(DEVICE_ID),
            "1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit",
            None,
            "the name under which the portal knows this device",
        ),
        Key(
            "DEVICE_TOKEN",
            _matching(TOKEN),
            _LONG_WORD,
            None,
            "the device's secret; written by `fleet-agent enroll`",
            is_secret=True,
        ),
        Key(
            "DEVICE_TOKEN_PENDING",
            _matching(TOKEN),
            _LONG_WORD,
            None,
            "a secret the portal has not confirmed yet; written and removed by the agent",
            is_secret=True,
        ),
        Key(
            "HEARTBEAT_INTERVAL",
            _number(5, 3600),
            "a whole number from 5 to 3600 (seconds)",
            60,
            "seconds between heartbeats as long as the portal names no pace",
            is_remote=True,
        ),
        Key(
            "COMMAND_POLL_INTERVAL",
            _number(5, 3600),
            "a whole number from 5 to 3600 (seconds)",
            30,
            "seconds between questions for commands if the portal does not hold them open",
            is_remote=True,
        ),
        Key(
            "STATE_DIR",
            _path,
            "an absolute path",
            None,
            "where queue, journal and bundles are kept",
        ),
        Key(
            "ALLOWED_SERVICES",
            _services,
            f"up to {MAX_SERVICES} unit names separated by commas, or * for any unit",
            (),
            "units the portal may restart; empty: none",
        ),
        Key(
            "ALLOW_REBOOT",
            _boolean,
            "true or false",
            default=False,
            meaning="whether the portal may reboot this machine",
        ),
        Key(
            "ALLOW_SCRIPTS",
            _boolean,
            "true or false",
            default=False,
            meaning="whether the portal may run scripts that a pinned key has signed",
        ),
        Key(
            "ALLOW_UPDATES",
            _boolean,
            "true or false",
            default=False,
            meaning="whether the portal may install releases and repair their files",
        ),
        Key(
            "UPDATE_TRUST",
            _trust,
            "one of " + ", ".join(TRUSTS),
            "general",
            "whose signatures are enough: general, or staged for early and canary devices too",
        ),
        Key(
            "RELEASES_DIR",
            _path,
            "an absolute path",
            None,
            "where releases are unpacked; `releases` in STATE_DIR when left out",
        ),
        Key(
            "KEEP_RELEASES",
            _number(1, 20),
            "a whole number from 1 to 20",
            2,
            "releases kept beside the one that runs",
        ),
        Key(
            "UPDATE_INTERVAL",
            _number(60, 86_400),
            "a whole number from 60 to 86400 (seconds)",
            3600,
            "seconds between questions for an update that nobody has announced",
            is_remote=True,
        ),
        Key(
            "CHAOS",
            _boolean,
            "true or false",
            default=False,
            meaning="whether the portal may make an update fail, hang or lie, to test a rollout",
        ),
        Key(
            "DRIFT_INTERVAL",
            _interval_or_off(60, 604_800),
            "0 (off) or a whole number from 60 to 604800 (seconds)",
            3600,
            "seconds between comparisons of the release's files with its manifest",
            is_remote=True,
        ),
        Key(
            "DRIFT_PATHS",
            _paths,
            f"up to {MAX_DRIFT_PATHS} absolute paths separated by commas",
            (),
            "files whose changes drift_check reports, beside fleet.conf itself",
        ),
        Key(
            "RECORDINGS_DIR",
            _path,
            "an absolute path",
            None,
            "directory whose newest files go into a bundle that includes recordings",
        ),
        Key(
            "QUEUE_MAX_MB",
            _number(1, 1024),
            "a whole number from 1 to 1024 (megabytes)",
            16,
            "size of the offline queue; the oldest heartbeats go first",
            is_remote=True,
        ),
        Key(
            "LOG_LEVEL",
            _log_level,
            "one of " + ", ".join(LOG_LEVELS),
            "INFO",
            "how much the agent logs",
            is_remote=True,
        ),
        Key(
            "CA_FILE",
            _path,
            "an absolute path",
            None,
            "certificates to trust instead of the system's",
        ),
        Key(
            "VERSION_FILE",
            _path,
            "an absolute path",
            None,
            "file whose first line is the version of the application on this device",
        ),
    )
}


def read_value(name: str, text: str) -> Any:
    """Return the value of a known key.

    Raises ValueError with the name of the key and what it takes. The refused text is repeated
    only when it is no secret.
    """
    key = KEYS[name]
    if not text and key.name not in ("ALLOWED_SERVICES", "DRIFT_PATHS"):
        return key.default
    try:
        return key.read(text)
    except ValueError:
        shown = "the value in the file" if key.is_secret else repr(text[:80])
        raise ValueError(f"{name}: {shown} is not allowed. Allowed: {key.allowed}.") from None

"""What a check found."""

from dataclasses import dataclass

ERROR, WARNING, INFO = "error", "warning", "info"
_ORDER = {ERROR: 0, WARNING: 1, INFO: 2}
_MESSAGE_CHARS = 300


@dataclass(frozen=True)
class Finding:
    """One fault: how bad, by which rule, in which file (empty: the whole), in words for people."""

    severity: str
    rule: str
    path: str
    message: str


def error(rule: str, path: str, message: str) -> Finding:
    return Finding(ERROR, rule, path, message[:_MESSAGE_CHARS])


def warning(rule: str, path: str, message: str) -> Finding:
    return Finding(WARNING, rule, path, message[:_MESSAGE_CHARS])


def info(rule: str, path: str, message: str) -> Finding:
    return Finding(INFO, rule, path, message[:_MESSAGE_CHARS])


def worst_first(findings: list[Finding], most: int) -> list[Finding]:
    """Return at most so many findings, errors before warnings, else as they were found."""
    return sorted(findings, key=lambda one: _ORDER[one.severity])[:most]

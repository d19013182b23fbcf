"""Structured logs: one JSON object a line, and no secret in any of them."""

import re
from collections.abc import MutableMapping
from typing import Any

import structlog

# 64 hex characters (device tokens, digests), JWTs, the portal's own key shapes, URL credentials.
_SECRET = re.compile(
    r"(?<![0-9a-zA-Z])[0-9a-fA-F]{64}(?![0-9a-zA-Z])"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|\b(?:fk|et|rt)_[\w-]{8,}"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
)
_SECRET_NAMES = re.compile(r"password|secret|token|api_key|authorization|cookie", re.IGNORECASE)
MASK = "[masked]"


def mask_text(text: str) -> str:
    """Return the text with everything that looks like a secret masked."""
    return _SECRET.sub(MASK, text)


def _mask(name: str, value: Any) -> Any:
    if _SECRET_NAMES.search(name) and isinstance(value, str):
        return MASK
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, dict):
        return {key: _mask(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mask("", item) for item in value]
    return value


def masked(value: Any) -> Any:
    """Return a JSON value with every secret in it masked."""
    return _mask("", value)


def mask_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Mask secrets in every field of a log line (structlog processor)."""
    for name in list(event):
        event[name] = _mask(name, event[name])
    return event


SHARED_PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
    mask_secrets,
]


def configure() -> None:
    """Make structlog hand its lines to the standard library's handlers."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED_PROCESSORS,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def logging_config(level: str) -> dict[str, Any]:
    """Return Django's LOGGING: JSON lines on standard error from `level` up."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processor": structlog.processors.JSONRenderer(),
                "foreign_pre_chain": SHARED_PROCESSORS,
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Django's own line for a refused request repeats what the request log says.
            "django.request": {"level": "ERROR"},
            "uvicorn.access": {"level": "WARNING"},
            # It tells of every key that has not signed yet.
            "tuf": {"level": "WARNING"},
        },
    }

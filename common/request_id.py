"""The id that ties a request's log lines, audit entries and answer together."""

import structlog


def current_request_id() -> str:
    """Return the id of the request or task under way, or an empty text outside of one."""
    context = structlog.contextvars.get_contextvars()
    return str(context.get("request_id") or context.get("task_id") or "")

"""What can go wrong, made from the portal's problem documents. None of it holds a secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Dict, Optional, Type

MAX_DETAIL_CHARS = 2_000


class FleetError(Exception):
    """Base of everything this package raises on purpose.

    `status` is the HTTP status, None when there was no answer. `code` is the portal's name for
    the refusal and does not change; `detail` is a sentence and may. `errors` names each refused
    field with its reasons. `problem` is the whole problem document.
    """

    def __init__(
        self,
        message: str,
        *,
        status: Optional[int] = None,
        problem: Optional[Mapping[str, Any]] = None,
        retry_after_s: Optional[float] = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.problem: Mapping[str, Any] = problem or {}
        self.code = str(self.problem.get("code") or "")
        self.detail = str(self.problem.get("detail") or message)
        errors = self.problem.get("errors")
        self.errors: Mapping[str, Any] = errors if isinstance(errors, dict) else {}
        self.retry_after_s = retry_after_s
        self.request_id = request_id


class Unreachable(FleetError):
    """No answer came: no connection, no trust in the certificate, or no time left.

    `was_sent`: the request may have reached the portal all the same. `is_passing`: another try may
    do better. `is_cut`: a file was on its way and did not arrive whole.
    """

    was_sent = True
    is_passing = True
    is_cut = False


class Unavailable(Unreachable):
    """The portal or its proxy answered 502, 503 or 504, and kept doing so."""


class Refused(FleetError):
    """The portal understood and said no."""


class NotFound(Refused):
    """Nothing is there, or it belongs to somebody else."""


class Unauthenticated(Refused):
    """The credential is missing, unknown, expired or revoked."""


class Forbidden(Refused):
    """The caller's role does not hold the right."""


class Conflict(Refused):
    """The present state does not allow it; `problem` says what that state is."""


class Invalid(Refused):
    """Values were refused; `errors` names them."""


class RateLimited(Refused):
    """Too many requests; `retry_after_s` says how long to wait."""


class PortalFault(FleetError):
    """The portal failed (500); its log knows the request by `request_id`."""


class AnswerUnusable(FleetError):
    """The answer is not what the portal sends: a log-in page in between, a cut or damaged file."""


class WaitTimeout(FleetError, TimeoutError):
    """What was waited for did not end in time. It goes on; only the waiting ended."""


class NotSignedIn(FleetError):
    """There is no credential to act with."""


_BY_STATUS: Dict[int, Type[FleetError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    429: RateLimited,
    400: Invalid,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def error_of(status: int, headers: Mapping[str, str], content: bytes) -> FleetError:
    """Return the exception for an answer that is no success."""
    problem = _problem(content)
    if 300 <= status < 400:
        target = plain_text(headers.get("location", "nowhere"))
        return AnswerUnusable(
            f"The portal redirects to {target}; use its final address.", status=status
        )
    kind = _BY_STATUS.get(status, Refused if status < 500 else PortalFault)
    return kind(
        _message(status, problem),
        status=status,
        problem=problem,
        retry_after_s=retry_after_s(headers),
        request_id=plain_text(headers.get("x-request-id", "")),
    )


def retry_after_s(headers: Mapping[str, str]) -> Optional[float]:
    """Return the seconds of a Retry-After header, which may also hold a date."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())


def plain_text(text: str) -> str:
    """Return text that is safe on a terminal: no control characters, not too long."""
    shown = "".join(sign if sign.isprintable() or sign == "\n" else "\ufffd" for sign in text)
    return shown if len(shown) <= MAX_DETAIL_CHARS else shown[:MAX_DETAIL_CHARS] + "…"


def _problem(content: bytes) -> Dict[str, Any]:
    try:
        problem = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}


def _message(status: int, problem: Mapping[str, Any]) -> str:
    """Return one sentence with the fields that were refused."""
    text = str(problem.get("detail") or problem.get("title") or f"The portal answered {status}.")
    errors = problem.get("errors")
    if isinstance(errors, dict) and errors:
        lines = [f"  {name}: {_reasons(reasons)}" for name, reasons in errors.items()]
        text = "\n".join([text, *lines])
    return plain_text(text)


def _reasons(reasons: Any) -> str:
    return " ".join(map(str, reasons)) if isinstance(reasons, list) else str(reasons)

"""The gateway's refusals: the same codes and sentences as Django's side of the portal."""

from common import limits
from common.api import NOT_FOUND, OVERLOADED, retry_after_s
from gateway.wire import Refusal

_CHALLENGE = [(b"www-authenticate", b"DeviceToken")]


def unknown_caller(*, by_key: bool) -> Refusal:
    detail = (
        "The API key is unknown, expired or revoked."
        if by_key
        else "The device token is unknown or no longer valid. Enrol the device again."
    )
    return Refusal(401, "authentication_failed", detail, headers=_CHALLENGE)


def no_caller(headers: str) -> Refusal:
    return Refusal(
        401, "not_authenticated", f"Send the credential in {headers}.", headers=_CHALLENGE
    )


def forbidden() -> Refusal:
    return Refusal(
        403,
        "permission_denied",
        "The caller's role or the device's lifecycle does not allow it."
        " Use a key with the role operator or admin, for a device that is not retired.",
    )


def not_found() -> Refusal:
    return Refusal(404, "not_found", NOT_FOUND)


def method(allowed: str = "POST") -> Refusal:
    return Refusal(
        405,
        "method_not_allowed",
        f"This path takes {allowed} only.",
        headers=[(b"allow", allowed.encode())],
    )


def unreadable(reason: str) -> Refusal:
    return Refusal(400, "parse_error", f"The body is not usable JSON: {reason}.")


def invalid(errors: dict[str, list[str]]) -> Refusal:
    return Refusal(
        422,
        "invalid",
        "Some fields were refused; `errors` names each with the reason.",
        errors=errors,
    )


def unstorable() -> Refusal:
    return invalid({"body": ["The database cannot store one of the values. Send plain values."]})


def overloaded() -> Refusal:
    """Too much work, or the database is away: come back, but not all at once."""
    return Refusal(
        503,
        "overloaded",
        OVERLOADED,
        headers=[(b"retry-after", b"%d" % retry_after_s())],
    )


def too_many(name: str, most: int) -> Refusal:
    return invalid({name: [f"More than {most}. Send fewer at once."]})


def batch_limit() -> Refusal:
    return too_many("heartbeats", limits.HEARTBEAT_BATCH)


def internal() -> Refusal:
    return Refusal(500, "internal_error", "The portal failed on this request. Send it again later.")

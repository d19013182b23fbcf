"""Refusals: a code for programs, a sentence for people."""


class DomainError(Exception):
    """A refusal the caller can act on; the message says what to do next.

    `extra` holds plain values that reach the caller beside the sentence.
    """

    code = "refused"
    http_status = 409

    def __init__(self, message: str, **extra: object) -> None:
        super().__init__(message)
        self.message = message
        self.extra = extra


class NotAllowed(DomainError):
    """The caller is known, and its role does not hold the right."""

    code = "not_allowed"
    http_status = 403


class InvalidInput(DomainError):
    """A value that is well-formed and still cannot be accepted."""

    code = "invalid"
    http_status = 422


class StorageFull(DomainError):
    """There is no room for what is sent; nothing that was there is lost."""

    code = "storage_full"
    http_status = 507

from common.errors import DomainError


class WrongCredentials(DomainError):
    code = "wrong_credentials"
    http_status = 401


class TotpNeeded(DomainError):
    """The password was right; a code of the authenticator app is missing or wrong."""

    code = "totp_needed"
    http_status = 401


class RefreshRefused(DomainError):
    code = "refresh_refused"
    http_status = 401


class AlreadyMember(DomainError):
    code = "already_member"


class LastAdmin(DomainError):
    code = "last_admin"


class SlugTaken(DomainError):
    code = "slug_taken"


class PasswordTooWeak(DomainError):
    code = "password_too_weak"
    http_status = 422

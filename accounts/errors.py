from common.errors import DomainError


class WrongCredentials(DomainError):
    """E-mail address and password do not match an account."""

    code = "wrong_credentials"
    http_status = 401


class TotpNeeded(DomainError):
    """The password was right; a code of the authenticator app is missing or wrong."""

    code = "totp_needed"
    http_status = 401


class RefreshRefused(DomainError):
    """The refresh token was used, has expired or is unknown."""

    code = "refresh_refused"
    http_status = 401


class AlreadyMember(DomainError):
    """The person is a member of the organisation already."""

    code = "already_member"


class LastAdmin(DomainError):
    """An organisation keeps at least one admin."""

    code = "last_admin"


class SlugTaken(DomainError):
    """Another organisation has this slug."""

    code = "slug_taken"


class PasswordTooWeak(DomainError):
    """The password is too short, too common or too close to the account."""

    code = "password_too_weak"
    http_status = 422

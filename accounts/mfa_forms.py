"""Codes of the authenticator app in the browser, counted before they are compared."""

from datetime import timedelta

from allauth.mfa.base import forms as mfa
from django.core.exceptions import ValidationError

from accounts.models import User
from accounts.services.limiter import TooManyAttempts, forget, pass_or_refuse
from common import limits

HOUR = timedelta(hours=1)


def _count(user: User) -> str:
    """Count one try. Only who knows the password gets here, so strangers lock nobody out."""
    key = f"totp:{user.pk}"
    try:
        pass_or_refuse(
            key=key,
            limit=limits.SIGN_IN_PER_ACCOUNT_HOUR,
            per=HOUR,
            message="Too many codes were wrong.",
        )
    except TooManyAttempts as refusal:
        raise ValidationError(refusal.message) from None
    return key


class CountedAuthenticateForm(mfa.AuthenticateForm):
    """The second step of signing in."""

    def clean_code(self) -> str:
        """Return the code when it fits; a right one makes the wrong ones forgotten."""
        key = _count(self.user)
        code: str = super().clean_code()
        forget(key=key)
        return code


class CountedReauthenticateForm(mfa.ReauthenticateForm):
    """A code asked for again before something delicate."""

    def clean_code(self) -> str:
        """Return the code when it fits; a right one makes the wrong ones forgotten."""
        key = _count(self.user)
        code: str = super().clean_code()
        forget(key=key)
        return code

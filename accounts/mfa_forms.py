"""Codes of the authenticator app in the browser, counted before they are compared."""

from allauth.mfa.base import forms as mfa
from django.core.exceptions import ValidationError

from accounts.models import User
from accounts.services.limiter import TooManyAttempts
from accounts.services.sign_in import code_count, codes_forget


def _count(user: User) -> None:
    try:
        code_count(user=user)
    except TooManyAttempts as refusal:
        raise ValidationError(refusal.message) from None


class CountedAuthenticateForm(mfa.AuthenticateForm):
    """The second step of signing in."""

    def clean_code(self) -> str:
        """Return the code when it fits; a right one makes the wrong ones forgotten."""
        _count(self.user)
        code: str = super().clean_code()
        codes_forget(user=self.user)
        return code


class CountedReauthenticateForm(mfa.ReauthenticateForm):
    """A code asked for again before something delicate."""

    def clean_code(self) -> str:
        """Return the code when it fits; a right one makes the wrong ones forgotten."""
        _count(self.user)
        code: str = super().clean_code()
        codes_forget(user=self.user)
        return code

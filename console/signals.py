"""What the library that signs people in tells, written to the audit log."""

from typing import Any

from allauth.account.signals import password_changed
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added, authenticator_removed, authenticator_reset
from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest

from accounts.address import client_address
from accounts.models import User
from accounts.principals import user_principal
from accounts.services.sign_in import sign_in_complete
from audit import services as audit


@receiver(user_logged_in)
def record_sign_in(request: HttpRequest, user: User, **_more: Any) -> None:
    """Note a sign-in to the console."""
    sign_in_complete(
        user=user, address=client_address(request), actor=user_principal(user), how="console"
    )


@receiver(password_changed)
def record_password_change(request: HttpRequest, user: User, **_more: Any) -> None:
    """Note that a person changed their own password."""
    audit.record(
        actor=user_principal(user), organization=None, action="user.password_change", target=user
    )


def _record_authenticator(user: User, authenticator: Authenticator, word: str) -> None:
    audit.record(
        actor=user_principal(user),
        organization=None,
        action=f"user.authenticator_{word}",
        target=user,
        after={"type": str(authenticator.type)},
    )


@receiver(authenticator_added)
def record_added(user: User, authenticator: Authenticator, **_more: Any) -> None:
    """Note that two-step sign-in was turned on, or recovery codes made."""
    _record_authenticator(user, authenticator, "add")


@receiver(authenticator_removed)
def record_removed(user: User, authenticator: Authenticator, **_more: Any) -> None:
    """Note that it was turned off."""
    _record_authenticator(user, authenticator, "remove")


@receiver(authenticator_reset)
def record_reset(user: User, authenticator: Authenticator, **_more: Any) -> None:
    """Note that recovery codes were made anew."""
    _record_authenticator(user, authenticator, "reset")

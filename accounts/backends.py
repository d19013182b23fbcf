"""Signing in to the console."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from accounts.address import client_address
from accounts.errors import WrongCredentials
from accounts.models import User
from accounts.services.limiter import TooManyAttempts
from accounts.services.sign_in import credentials_check


class PortalBackend(ModelBackend):
    """E-mail and password, counted before they are hashed."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None,
        **credentials: Any,
    ) -> User | None:  # fmt: skip
        """Return the person, None for wrong credentials, or raise a form error when throttled."""
        email = credentials.get("email") or username
        if request is None or not email or not password:
            return None
        try:
            return credentials_check(
                email=email, password=password, address=client_address(request)
            )
        except TooManyAttempts as refusal:
            raise ValidationError(refusal.message) from None
        except WrongCredentials:
            return None

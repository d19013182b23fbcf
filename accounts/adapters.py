"""What django-allauth asks the portal."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest


class PortalAccountAdapter(DefaultAccountAdapter):
    """Accounts are made by an organisation's admins, never by strangers."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Close sign-up: allauth opens it by default."""
        return False

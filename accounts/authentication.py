"""How a request says who is asking; devices have their own way in `devices.authentication`."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts.models import ApiKey
from accounts.principals import Principal, api_key_principal, principal_of_user, user_principal
from accounts.services.sign_in import access_token_claims
from common import clock
from common.ids import secret_digest

SESSION_ORGANIZATION = "organization"


class JWTAuthentication(BaseAuthentication):
    """`Authorization: Bearer <access token>`; `X-Organization` names where the person acts."""

    def authenticate(self, request: Request) -> tuple[Principal, str] | None:
        """Return the person in the organisation they named, or refuse with 401."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        claims = access_token_claims(token.strip())
        asked = request.headers.get("X-Organization")
        principal = _principal_of(claims, asked) if claims else None
        if principal is None:
            raise AuthenticationFailed(
                "The access token is not valid. Refresh it or sign in again."
            )
        return principal, "jwt"

    def authenticate_header(self, request: Request) -> str:
        """Make an unknown caller's answer 401."""
        return "Bearer"


def _principal_of(claims: dict[str, Any], slug: str | None) -> Principal | None:
    try:
        principal = principal_of_user(UUID(claims["sub"]), slug)
    except ValueError:
        return None
    user = principal.user if principal else None
    if user is None or user.get_session_auth_hash()[:16] != claims.get("stamp"):
        return None
    return principal


class ApiKeyAuthentication(BaseAuthentication):
    """`X-API-Key: fk_…`: a program acting for an organisation."""

    def authenticate(self, request: Request) -> tuple[Principal, ApiKey] | None:
        """Return the key's principal, or refuse with 401."""
        secret = request.headers.get("X-API-Key")
        if not secret:
            return None
        now = clock.now()
        key = (
            ApiKey.objects.usable(now)
            .filter(sha256=secret_digest(secret))
            .select_related("organization")
            .first()
        )
        if key is None:
            raise AuthenticationFailed("The API key is unknown, expired or revoked.")
        # To the minute is enough, and spares the row a write per request.
        if key.last_used_at is None or (now - key.last_used_at).total_seconds() > 60:
            _note_use(key, now)
        return api_key_principal(key), key


@transaction.atomic
def _note_use(key: ApiKey, now: datetime) -> None:
    """Write when the key was used, unless another request writes it: nobody waits for this."""
    free = ApiKey.objects.filter(pk=key.pk).select_for_update(skip_locked=True)
    if free.values_list("pk", flat=True).first():
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)


class SessionPrincipalAuthentication(SessionAuthentication):
    """The console's session, with its CSRF check."""

    def authenticate(self, request: Request) -> tuple[Principal, None] | None:
        """Return the signed-in person in the organisation chosen in the console."""
        found = super().authenticate(request)
        if found is None:
            return None
        asked = request.headers.get("X-Organization")
        if asked:
            return user_principal(found[0], asked), None
        # The middleware has looked for them already.
        known: Principal | None = getattr(request._request, "principal", None)
        if known is not None and known.id == found[0].pk:
            return known, None
        return user_principal(found[0], request._request.session.get(SESSION_ORGANIZATION)), None


class JWTScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = JWTAuthentication
    name = "jwt"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Describe the scheme."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = ApiKeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Describe the scheme."""
        return {"type": "apiKey", "in": "header", "name": "X-API-Key"}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = SessionPrincipalAuthentication
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Describe the scheme."""
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}

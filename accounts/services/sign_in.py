"""Signing in: passwords, one-time codes, and the tokens that follow."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password
from django.db import transaction

from accounts.errors import RefreshRefused, TotpNeeded, WrongCredentials
from accounts.models import RefreshToken, User
from accounts.services.limiter import forget, pass_or_refuse
from audit import services as audit
from common import limits
from common.ids import secret_digest, secret_token, uuid7

HOUR = timedelta(hours=1)
ISSUER = "fleet-portal"
_TOO_MANY = "Too many sign-ins failed."
_WRONG = "E-mail address and password do not match an account."


def _place_key(user_id: UUID, address: str) -> str:
    return f"known:{user_id}:{address}"


def _buckets(*, user: User | None, email: str, address: str) -> dict[str, int]:
    """Return the buckets an attempt counts in, with how many each lets through in an hour."""
    if user is not None and user.known_places.filter(address=address).exists():
        return {_place_key(user.pk, address): limits.SIGN_IN_PER_ACCOUNT_HOUR}
    return {
        f"address:{address}": limits.SIGN_IN_PER_ADDRESS_HOUR,
        f"account:{email.lower()}": limits.SIGN_IN_PER_ACCOUNT_HOUR,
    }


def _count_attempt(*, user: User | None, email: str, address: str) -> None:
    """Count the attempt before the costly hash.

    Strangers share one bucket per account. Who signed in from this address before has a bucket
    of their own, so nobody can lock an owner out from everywhere by guessing elsewhere.
    """
    for key, limit in _buckets(user=user, email=email, address=address).items():
        pass_or_refuse(key=key, limit=limit, per=HOUR, message=_TOO_MANY)


def credentials_check(*, email: str, password: str, address: str) -> User:
    """Return the person these credentials belong to.

    Every attempt is counted before the password is hashed; only a sign-in that is complete makes
    the count forgotten (`sign_in_complete`). Raises TooManyAttempts or WrongCredentials. An
    unknown address costs one hash too, so that time does not tell who has an account. Must not
    run inside a transaction that a refusal rolls back.
    """
    user = User.objects.filter(email__iexact=email).first()
    _count_attempt(user=user, email=email, address=address)
    if user is None or not user.is_active:
        make_password(password)
        raise WrongCredentials(_WRONG)
    if not check_password(password, user.password):
        raise WrongCredentials(_WRONG)
    return user


def sign_in_complete(*, user: User, address: str, actor: audit.Actor, how: str) -> None:
    """Note a sign-in whose every step went well: in the log, and for later ones from there."""
    # Only what this sign-in counted in: guesses of strangers stay counted.
    for key in _buckets(user=user, email=user.email, address=address):
        forget(key=key)
    user.known_places.get_or_create(address=address)
    audit.record(
        actor=actor, organization=None, action="user.sign_in", target=user, after={"how": how}
    )


def _code_key(user_id: UUID) -> str:
    return f"totp:{user_id}"


def code_count(*, user: User) -> None:
    """Count one try at a one-time code, before it is compared. Raises TooManyAttempts.

    Only who knows the password gets this far, so strangers lock nobody out.
    """
    pass_or_refuse(
        key=_code_key(user.pk),
        limit=limits.SIGN_IN_PER_ACCOUNT_HOUR,
        per=HOUR,
        message="Too many codes were wrong.",
    )


def codes_forget(*, user: User) -> None:
    """Forget the wrong codes: a right one came."""
    forget(key=_code_key(user.pk))


def totp_check(*, user: User, code: str) -> None:
    """Refuse with TotpNeeded unless `code` fits a person who set up an authenticator app."""
    authenticators = list(
        Authenticator.objects.filter(
            user=user, type__in=[Authenticator.Type.TOTP, Authenticator.Type.RECOVERY_CODES]
        )
    )
    if not any(one.type == Authenticator.Type.TOTP for one in authenticators):
        return
    if code:
        code_count(user=user)
    if not code or not any(one.wrap().validate_code(code) for one in authenticators):
        raise TotpNeeded("This account has an authenticator app: send its code as `totp`.")
    codes_forget(user=user)


@dataclass(frozen=True)
class TokenPair:
    """What a sign-in gives a program: a short access token and a longer refresh token."""

    access: str
    refresh: str
    expires_in: int


def _access_token(*, user: User, now: datetime) -> str:
    claims = {
        "iss": ISSUER,
        "aud": ISSUER,
        "typ": "access",
        "sub": str(user.pk),
        "iat": now,
        "exp": now + limits.ACCESS_TOKEN_TTL,
        # Changes with the password: a new password ends every token given out before.
        "stamp": user.get_session_auth_hash()[:16],
    }
    return jwt.encode(claims, settings.JWT_KEY, algorithm="HS256")


def access_token_claims(token: str) -> dict[str, Any] | None:
    """Return the claims of a valid access token, or None."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            settings.JWT_KEY,
            algorithms=["HS256"],
            audience=ISSUER,
            issuer=ISSUER,
            # The database's clock issued it, this host's reads it.
            leeway=30,
            options={"require": ["exp", "sub", "iss", "aud"]},
        )
    except jwt.PyJWTError:
        return None
    return claims if claims.get("typ") == "access" else None


@transaction.atomic
def tokens_issue(*, user: User, now: datetime, family: UUID | None = None) -> TokenPair:
    """Give out an access token and a refresh token of `family` (a new one by default)."""
    refresh = f"rt_{secret_token()}"
    RefreshToken.objects.create(
        user=user,
        family=family or uuid7(),
        sha256=secret_digest(refresh),
        expires_at=now + limits.REFRESH_TOKEN_TTL,
    )
    RefreshToken.objects.filter(user=user, expires_at__lt=now).delete()
    return TokenPair(
        access=_access_token(user=user, now=now),
        refresh=refresh,
        expires_in=int(limits.ACCESS_TOKEN_TTL.total_seconds()),
    )


def tokens_refresh(*, refresh: str, now: datetime) -> TokenPair:
    """Trade a refresh token for a new pair; each one works once.

    A token used twice was copied: the whole family ends. Raises RefreshRefused.
    """
    token = (
        RefreshToken.objects.filter(sha256=secret_digest(refresh)).select_related("user").first()
    )
    refused = RefreshRefused("This refresh token is not valid any more. Sign in again.")
    if token is None or token.expires_at <= now or not token.user.is_active:
        raise refused
    spent = RefreshToken.objects.filter(pk=token.pk, spent_at=None).update(spent_at=now)
    if not spent:
        RefreshToken.objects.filter(family=token.family).delete()
        raise refused
    return tokens_issue(user=token.user, now=now, family=token.family)

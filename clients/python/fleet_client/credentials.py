"""Who the client is to the portal. No credential shows itself in a repr."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Optional, Protocol

from fleet_client.errors import NotSignedIn

# An access token this close to its end is renewed first.
EARLY_S = 30.0


@dataclass(frozen=True)
class Tokens:
    """The pair of a sign-in; `expires_at` is a Unix time, None when unknown."""

    access: str = field(repr=False)
    refresh: str = field(default="", repr=False)
    expires_at: Optional[float] = None

    @property
    def is_fresh(self) -> bool:
        return self.expires_at is None or time.time() < self.expires_at - EARLY_S


class TokenStore(Protocol):
    """Keeps a pair where several processes share it.

    A refresh token works once, so the store is locked from reading the old pair to writing the new.
    """

    def lock(self) -> AbstractContextManager[object]:
        """Keep other processes out."""

    def load(self) -> Optional[Tokens]:
        """Return the newest pair."""

    def save(self, tokens: Tokens) -> None:
        """Keep the new pair."""


class MemoryStore:
    """Keeps the pair in this process."""

    def __init__(self, tokens: Optional[Tokens] = None) -> None:
        self._tokens = tokens

    def lock(self) -> AbstractContextManager[object]:
        """Nobody else is there."""
        return nullcontext()

    def load(self) -> Optional[Tokens]:
        """Return the newest pair."""
        return self._tokens

    def save(self, tokens: Tokens) -> None:
        """Keep the new pair."""
        self._tokens = tokens


@dataclass(frozen=True)
class Credentials:
    """An API key, or tokens with perhaps a password behind them."""

    api_key: str = field(default="", repr=False)
    email: str = ""
    password: str = field(default="", repr=False)
    totp: str = field(default="", repr=False)
    store: TokenStore = field(default_factory=MemoryStore, repr=False)


def credentials_of(
    *,
    api_key: Optional[str],
    email: Optional[str],
    password: Optional[str],
    totp: Optional[str],
    token: Optional[str],
    refresh_token: Optional[str],
    store: Optional[TokenStore],
) -> Credentials:
    """Return the one credential that was given; ValueError when there are several or halves."""
    given = [bool(api_key), bool(email or password), bool(token), store is not None]
    if sum(given) > 1:
        raise ValueError("Give one of api_key, email with password, token, or token_store.")
    if bool(email) != bool(password):
        raise ValueError("email and password belong together.")
    for name, secret in {"api_key": api_key, "token": token}.items():
        # httpx would repeat the value in its own error.
        if secret and not (secret.isascii() and secret.isprintable() and " " not in secret):
            raise ValueError(f"{name} holds characters that no credential has.")
    tokens = Tokens(token, refresh_token or "") if token else None
    return Credentials(
        api_key=api_key or "",
        email=email or "",
        password=password or "",
        totp=totp or "",
        store=store or MemoryStore(tokens),
    )


def not_signed_in() -> NotSignedIn:
    """Return the error of a client without any credential."""
    return NotSignedIn("There is no credential: give api_key, email and password, or token.")

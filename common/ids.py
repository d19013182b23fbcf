"""Identifiers the outside may see, and secrets it may see once."""

import hashlib
import secrets
import time
import uuid

NIL_UUID = uuid.UUID(int=0)


def uuid7() -> uuid.UUID:
    """Return a time-ordered identifier: 48 bits of Unix milliseconds, then random bits.

    The moment of creation is readable in it, so it is never a secret.
    """
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)


def secret_token() -> str:
    """Return 256 random bits as 64 hex characters."""
    return secrets.token_hex(32)


def secret_digest(token: str) -> bytes:
    """Return the SHA-256 under which a secret is stored.

    A secret of 256 random bits needs no slow hash (OWASP ASVS 5.0, 6.5.2).
    """
    return hashlib.sha256(token.encode()).digest()

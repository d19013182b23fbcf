"""The portal's signature (Ed25519): devices run nothing it does not stand on."""

import base64
import binascii
from functools import lru_cache
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from common.errors import DomainError

SEED_BYTES = 32


class SigningKeyMissing(DomainError):
    """The portal has no key to sign with."""

    code = "signing_key_missing"


def seed_of(text: str) -> bytes:
    """Return the 32 bytes written as base64 or as 64 hex characters, or raise ValueError."""
    try:
        seed = (
            bytes.fromhex(text)
            if len(text) == 2 * SEED_BYTES
            else base64.b64decode(text, validate=True)
        )
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if len(seed) != SEED_BYTES:
        raise ValueError(f"{len(seed)} bytes instead of {SEED_BYTES}")
    return seed


@lru_cache(maxsize=4)
def _private_key(text: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed_of(text))


def _key() -> Ed25519PrivateKey:
    if not settings.SIGNING_KEY:
        raise SigningKeyMissing(
            "The portal has no key to sign with. Set SIGNING_KEY and start it again."
        )
    return _private_key(settings.SIGNING_KEY)


@lru_cache(maxsize=1024)
def _derived(text: str, purpose: str) -> Ed25519PrivateKey:
    kdf = HKDF(algorithm=SHA256(), length=SEED_BYTES, salt=None, info=purpose.encode())
    return Ed25519PrivateKey.from_private_bytes(kdf.derive(seed_of(text)))


def derived_key(purpose: str) -> Ed25519PrivateKey:
    """Return a key of its own for one purpose: who learns it learns nothing about the others.

    Raises SigningKeyMissing.
    """
    _key()
    return _derived(settings.SIGNING_KEY, purpose)


def _key_id(key: Ed25519PublicKey) -> str:
    return sha256(key.public_bytes_raw()).hexdigest()[:16]


def sign(document: str) -> tuple[str, str]:
    """Return the signature of the text (base64) and the id of the key. Raises SigningKeyMissing."""
    key = _key()
    return base64.b64encode(key.sign(document.encode())).decode(), _key_id(key.public_key())


def is_signed(document: str, *, signature: str, key_id: str) -> bool:
    """Say whether the portal's present key signed exactly this text."""
    public = _key().public_key()
    if key_id != _key_id(public):
        return False
    try:
        public.verify(base64.b64decode(signature), document.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def public_keys() -> list[dict[str, str]]:
    """Return what a device needs to check signatures; empty while the portal has no key."""
    if not settings.SIGNING_KEY:
        return []
    public = _key().public_key()
    raw = base64.b64encode(public.public_bytes_raw()).decode()
    return [{"key_id": _key_id(public), "public_key": raw}]

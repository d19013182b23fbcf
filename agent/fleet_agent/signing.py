"""The keys this device trusts to sign scripts, and the check of a signature."""

from __future__ import annotations

import base64
import binascii
import json
import logging
from pathlib import Path
from typing import Any, Optional

from fleet_agent.durable import write_atomically
from fleet_agent.errors import AgentError

MAX_KEYS = 20
KEY_BYTES = 32
log = logging.getLogger(__name__)


class SignatureRefusedError(AgentError):
    """The script is not what a trusted key signed; the message says what to do."""


class KeyRing:
    """signing_keys.json: public keys pinned when first seen, and the organisation they sign for.

    Other keys that the portal names later are kept aside as `refused` until somebody enrols the
    device again.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "signing_keys.json"
        record = _read(self._path)
        self.keys: dict[str, str] = _texts(record.get("keys"))
        self.refused: dict[str, str] = _texts(record.get("refused"))
        self.organization = str(record.get("organization") or "")

    def offer(self, config: dict[str, Any]) -> None:
        """Take up what a portal's configuration says, or keep it aside when it differs.

        Raises OSError.
        """
        offered = offered_keys(config)
        if not offered or offered == self.keys:
            return
        if self.keys:
            if offered != self.refused:
                log.error("The portal names other signing keys than those pinned: refused")
            self.refused = offered
        else:
            self.keys = offered
        self._pin_organization(config)
        self._save()

    def replace(self, config: dict[str, Any]) -> None:
        """Trust what the portal says now, because a person has just enrolled this device.

        Raises OSError.
        """
        offered = offered_keys(config)
        if offered:
            self.keys, self.refused, self.organization = offered, {}, ""
            self._pin_organization(config)
            self._save()

    def pin_organization(self, name: str) -> None:
        """Remember whose scripts run here, from the first script that was well signed."""
        if not self.organization:
            self.organization = name
            self._save()

    def verify(self, document: str, *, signature: str, key_id: str) -> None:
        """Raises SignatureRefusedError unless a pinned key signed exactly this text."""
        if key_id not in self.keys:
            raise SignatureRefusedError(
                f"The script is signed with the key {key_id[:80]!r}, which this device does not "
                "trust. Enrol the device again if the portal's key was changed on purpose."
            )
        if not _is_signed(self.keys[key_id], document.encode(), signature):
            raise SignatureRefusedError("The signature of the script is wrong. Store it anew.")

    def _pin_organization(self, config: dict[str, Any]) -> None:
        named = config.get("organization")
        if not self.organization and isinstance(named, str):
            self.organization = named

    def _save(self) -> None:
        record = {
            "keys": self.keys,
            "refused": self.refused,
            "organization": self.organization,
        }
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(self._path, json.dumps(record).encode())


def can_verify() -> bool:
    """Tell whether the library that checks signatures is installed."""
    try:
        import cryptography  # noqa: F401 - an extra
    except ImportError:
        return False
    return True


def offered_keys(config: dict[str, Any]) -> dict[str, str]:
    """Return the well-formed keys of a portal's `config.signing_keys` by their ids."""
    listed = config.get("signing_keys")
    found: dict[str, str] = {}
    for item in listed[:MAX_KEYS] if isinstance(listed, list) else []:
        key_id = item.get("key_id") if isinstance(item, dict) else None
        if isinstance(key_id, str) and _decoded(item.get("public_key"), KEY_BYTES) is not None:
            found[key_id] = item["public_key"]
    return found


def _is_signed(public_key: str, data: bytes, signature: str) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PublicKey,
    )

    key, given = _decoded(public_key, KEY_BYTES), _decoded(signature, 64)
    if key is None or given is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(given, data)
    except InvalidSignature:
        return False
    return True


def _decoded(text: object, size: int) -> Optional[bytes]:
    try:
        data = base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if len(data) == size else None


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {str(name): str(text) for name, text in value.items()}

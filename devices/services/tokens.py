"""Device tokens: given out once, rotated with overlap, ended."""

from datetime import datetime

from django.db import transaction

from audit import services as audit
from audit.services import Actor
from common import limits
from common.errors import InvalidInput
from common.ids import secret_digest, secret_token
from devices.models import Device, DeviceToken


def digest_from_hex(text: str) -> bytes:
    """Return the SHA-256 a device sent instead of its secret, or refuse."""
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise InvalidInput("token_sha256 must be 64 hex characters: the SHA-256 of the token.")
    return digest


def token_create(*, device: Device, sha256: bytes | None, now: datetime) -> str | None:
    """Make a device's first token; return its secret unless the device sent its own digest."""
    secret = None if sha256 else secret_token()
    DeviceToken.objects.create(
        organization_id=device.organization_id,
        device=device,
        sha256=sha256 or secret_digest(secret or ""),
        prefix=(secret or "")[:6],
        confirmed_at=now,
    )
    return secret


@transaction.atomic
def token_rotate(
    *, device: Device, sha256: bytes | None, actor: Actor, now: datetime
) -> tuple[str | None, datetime]:
    """Add a successor beside the current token; return its secret and when the old one ends.

    The old token lives until the first use of the new one or for `limits.TOKEN_OVERLAP`, so the
    device can lose power or the answer at any point. Sending the same digest again changes
    nothing. Raises InvalidInput when the digest belongs to a token that is over.
    """
    Device.objects.select_for_update().get(pk=device.pk)
    ends_at = now + limits.TOKEN_OVERLAP
    if sha256 is not None:
        known = DeviceToken.objects.filter(sha256=sha256).first()
        if known is not None and known.device_id == device.pk and known.revoked_at is None:
            older = DeviceToken.objects.filter(
                device=device, revoked_at=None, expires_at__isnull=False
            )
            return None, older.order_by("expires_at").values_list(
                "expires_at", flat=True
            ).first() or now
        if known is not None:
            raise InvalidInput("This token was used before. Make a new one.")
    secret = None if sha256 else secret_token()
    DeviceToken.objects.filter(device=device, revoked_at=None).update(expires_at=ends_at)
    DeviceToken.objects.create(
        organization_id=device.organization_id,
        device=device,
        sha256=sha256 or secret_digest(secret or ""),
        prefix=(secret or "")[:6],
    )
    audit.record(
        actor=actor, organization=device.organization, action="device.token_rotate", target=device
    )
    return secret, ends_at


@transaction.atomic
def token_confirm(*, token: DeviceToken, now: datetime) -> None:
    """Note the first use of a successor: every other token of the device ends at once."""
    if not DeviceToken.objects.filter(pk=token.pk, confirmed_at=None).update(
        confirmed_at=now, expires_at=None
    ):
        return
    DeviceToken.objects.filter(device_id=token.device_id, revoked_at=None).exclude(
        pk=token.pk
    ).update(revoked_at=now)


def tokens_revoke(*, device: Device, now: datetime) -> None:
    """End every token of a device at once."""
    DeviceToken.objects.filter(device=device, revoked_at=None).update(revoked_at=now)

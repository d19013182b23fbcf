"""Letting devices in: by enrolment token, by API key, or pending until accepted."""

from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F

from accounts.models import Organization
from audit import services as audit
from audit.services import Actor
from common.ids import secret_digest, secret_token
from devices.errors import DeviceExists, EnrollmentRefused
from devices.models import Device, DeviceGroup, DeviceState, EnrollmentToken, GroupMember
from devices.services.events import event_add
from devices.services.registry import device_report_identity
from devices.services.tokens import token_create

Fields = dict[str, Any]


@transaction.atomic
def enrollment_token_issue(
    *,
    organization: Organization,
    name: str,
    ttl: timedelta,
    max_uses: int,
    actor: Actor | None,
    now: datetime,
    group: DeviceGroup | None = None,
) -> tuple[EnrollmentToken, str]:
    """Issue an enrolment token; return it and its secret, which is shown this once."""
    secret = f"et_{secret_token()}"
    token = EnrollmentToken.objects.create(
        organization=organization,
        name=name,
        group=group,
        prefix=secret[:11],
        sha256=secret_digest(secret),
        expires_at=now + ttl,
        max_uses=max_uses,
        created_by=actor.label if actor else "system",
    )
    audit.record(
        actor=actor,
        organization=organization,
        action="enrollment_token.issue",
        target=token,
        after={"name": name, "expires_at": token.expires_at.isoformat(), "max_uses": max_uses},
    )
    return token, secret


@transaction.atomic
def enrollment_token_revoke(*, token: EnrollmentToken, actor: Actor | None, now: datetime) -> None:
    """End an enrolment token at once. Revoking twice changes nothing."""
    if EnrollmentToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=now):
        audit.record(
            actor=actor,
            organization=token.organization,
            action="enrollment_token.revoke",
            target=token,
        )


def _token_use(*, secret: str, now: datetime) -> EnrollmentToken:
    """Count one use of an enrolment token; the last use is given to one caller only."""
    usable = EnrollmentToken.objects.usable(now).filter(sha256=secret_digest(secret))
    token = usable.select_related("organization", "group").first()
    if token is None or not usable.update(uses=F("uses") + 1):
        raise EnrollmentRefused(
            "The enrolment token is unknown, expired, revoked or used up. Ask for a new one."
        )
    return token


@transaction.atomic
def device_enroll_with_token(
    *, secret: str, fields: Fields, sha256: bytes | None, now: datetime
) -> tuple[Device, str | None]:
    """Let a device in with an enrolment token; it is active at once.

    Returns the device and its token's secret (None when the device sent its own digest). A
    retired id may come back this way, with its history. Raises EnrollmentRefused or DeviceExists.
    """
    token = _token_use(secret=secret, now=now)
    device, device_secret = _device_create(
        organization=token.organization,
        fields=fields,
        lifecycle=Device.Lifecycle.ACTIVE,
        sha256=sha256,
        enrolled_by=f"enrolment token {token.name}",
        actor=None,
        now=now,
        revive=True,
    )
    if token.group is not None:
        GroupMember.objects.get_or_create(
            organization_id=device.organization_id, device=device, group=token.group
        )
    return device, device_secret


def device_enroll_by_principal(
    *,
    organization: Organization,
    fields: Fields,
    sha256: bytes | None,
    actor: Actor,
    now: datetime,
) -> tuple[Device, str | None]:
    """Let a device in on the word of an API key or a person; it is active at once."""
    return _device_create(
        organization=organization,
        fields=fields,
        lifecycle=Device.Lifecycle.ACTIVE,
        sha256=sha256,
        enrolled_by=actor.label,
        actor=actor,
        now=now,
        revive=True,
    )


def device_enroll_itself(
    *, slug: str, fields: Fields, sha256: bytes | None, now: datetime
) -> tuple[Device, str | None]:
    """Let an unknown device knock: it stays pending until an operator accepts it.

    Without a slug the only organisation that allows this is meant. Raises EnrollmentRefused
    where no organisation allows it, with the same sentence whether it exists or not.
    """
    open_ones = Organization.objects.filter(is_active=True, allow_self_enrollment=True)
    if slug:
        open_ones = open_ones.filter(slug=slug)
    candidates = list(open_ones[:2])
    if len(candidates) != 1:
        raise EnrollmentRefused(
            "Registering needs an enrolment token (`enrollment_token`) or an API key."
            " Without one, name an `organization` that allows self-enrolment."
        )
    return _device_create(
        organization=candidates[0],
        fields=fields,
        lifecycle=Device.Lifecycle.PENDING,
        sha256=sha256,
        enrolled_by="itself",
        actor=None,
        now=now,
        revive=False,
    )


@transaction.atomic
def _device_create(
    *,
    organization: Organization,
    fields: Fields,
    lifecycle: str,
    sha256: bytes | None,
    enrolled_by: str,
    actor: Actor | None,
    now: datetime,
    revive: bool,
) -> tuple[Device, str | None]:
    device = _revived(organization=organization, fields=fields, now=now) if revive else None
    if device is None:
        try:
            with transaction.atomic():
                device = Device.objects.create(
                    organization=organization,
                    lifecycle=lifecycle,
                    enrolled_by=enrolled_by[:255],
                    **fields,
                )
        except IntegrityError:
            raise DeviceExists(
                f"A device {fields['device_id']} exists already. Prove to be it with its"
                " X-Device-Token, or retire it first."
            ) from None
        DeviceState.objects.create(device=device, organization=organization)
    secret = token_create(device=device, sha256=sha256, now=now)
    event_add(device=device, kind="registration", message=f"Enrolled by {enrolled_by}", now=now)
    audit.record(
        actor=actor or _device_actor(device),
        organization=organization,
        action="device.register",
        target=device,
        after={"lifecycle": device.lifecycle, "enrolled_by": enrolled_by},
    )
    return device, secret


class _DeviceActor:
    kind = "device"

    def __init__(self, device: Device) -> None:
        self.actor_id = str(device.pk)
        self.label = device.device_id


def _device_actor(device: Device) -> Actor:
    return _DeviceActor(device)


def _revived(*, organization: Organization, fields: Fields, now: datetime) -> Device | None:
    """Bring a retired id back to life; its old tokens stay dead."""
    revived = Device.objects.filter(
        organization=organization,
        device_id=fields["device_id"],
        lifecycle=Device.Lifecycle.RETIRED,
    ).update(lifecycle=Device.Lifecycle.ACTIVE, retired_at=None, updated_at=now)
    if not revived:
        return None
    device = Device.objects.select_related("organization").get(
        organization=organization, device_id=fields["device_id"]
    )
    return device_report_identity(device=device, fields=fields, now=now)

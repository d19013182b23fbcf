"""How a device gets in, and how it proves itself afterwards."""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import F, Q

from accounts.tenancy import TenantQuerySet
from common import limits
from common.ids import uuid7
from devices.models.registry import Device, DeviceGroup


class EnrollmentTokenQuerySet(TenantQuerySet["EnrollmentToken"]):
    def usable(self, now: datetime) -> Self:
        """Tokens that still let a device in."""
        return self.filter(
            Q(expires_at__gt=now),
            revoked_at=None,
            uses__lt=F("max_uses"),
            organization__is_active=True,
        )


class EnrollmentToken(models.Model):
    """Lets new devices into an organisation: until a moment, a number of times."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.CASCADE, related_name="+")
    name = models.CharField(max_length=limits.NAME_CHARS)
    group = models.ForeignKey(
        DeviceGroup,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="Devices that come in with this token join the group.",
    )
    prefix = models.CharField(max_length=16)
    sha256 = models.BinaryField(max_length=32, unique=True)
    expires_at = models.DateTimeField()
    max_uses = models.PositiveIntegerField(default=1)
    uses = models.PositiveIntegerField(default=0)
    created_by = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = EnrollmentTokenQuerySet.as_manager()

    class Meta:
        verbose_name = "enrolment token"
        constraints = [
            models.CheckConstraint(
                condition=Q(uses__lte=F("max_uses")), name="enrollment_token_uses_bounded"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class DeviceToken(models.Model):
    """A device's credential, stored as SHA-256.

    Several may live side by side while a rotation is under way: the first use of a newer one
    ends every other (`confirmed_at`), and without such a use an older one ends at `expires_at`.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.CASCADE, related_name="+")
    device = models.ForeignKey(Device, models.CASCADE, related_name="tokens")
    sha256 = models.BinaryField(max_length=32, unique=True)
    prefix = models.CharField(max_length=8, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["DeviceToken"].as_manager()

    class Meta:
        indexes = [
            # Ending a device's other tokens.
            models.Index(fields=["device"], condition=Q(revoked_at=None), name="device_token_live"),
        ]

    def __str__(self) -> str:
        return f"{self.prefix}…"

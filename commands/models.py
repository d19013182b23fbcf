"""What a device is told to do."""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q

from common import limits
from common.ids import uuid7
from devices.models import Device, OfDeviceQuerySet

WAITING = ["queued", "delivered"]
OPEN = [*WAITING, "running"]
ENDED = ["succeeded", "failed", "rejected", "timed_out", "expired", "cancelled"]

# The whole life of a command. A trigger in the database refuses everything else.
TRANSITIONS: dict[str, list[str]] = {
    "queued": ["delivered", "cancelled", "expired"],
    "delivered": [
        "running",
        "succeeded",
        "failed",
        "rejected",
        "timed_out",
        "queued",
        "cancelled",
        "expired",
    ],
    "running": ["succeeded", "failed", "rejected", "timed_out", "cancelled"],
}


class CommandQuerySet(OfDeviceQuerySet["Command"]):
    def open(self) -> Self:
        """Not ended yet."""
        return self.filter(status__in=OPEN)

    def overdue(self, now: datetime) -> Self:
        """Waited longer than they may; one handed out just now may still begin."""
        not_begun = Q(status="queued") | Q(status="delivered", lease_expires_at__lte=now)
        return self.filter(not_begun, expires_at__lte=now)

    def orphaned(self) -> Self:
        """Waiting for a device that was retired meanwhile."""
        return self.filter(status__in=WAITING, device__lifecycle=Device.Lifecycle.RETIRED)

    def lease_lost(self, now: datetime) -> Self:
        """Handed out, and the device never said that it began."""
        return self.filter(status="delivered", lease_expires_at__lte=now)

    def stuck(self, now: datetime) -> Self:
        """Begun, and silent for longer than a command may run."""
        return self.filter(status="running", started_at__lte=now - limits.COMMAND_RUN_MAX)


class Command(models.Model):
    """One order to one device. It ends exactly once."""

    class Status(models.TextChoices):
        QUEUED = "queued"
        DELIVERED = "delivered"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        REJECTED = "rejected"
        TIMED_OUT = "timed_out", "timed out"
        EXPIRED = "expired"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.PROTECT, related_name="+")
    device = models.ForeignKey(Device, models.CASCADE, related_name="commands")
    kind = models.CharField("type", max_length=32)
    payload = models.JSONField(default=dict, blank=True)
    # Larger goes first; the same goes in the order of queueing.
    priority = models.SmallIntegerField(default=0)
    status = models.CharField(max_length=16, choices=Status, default=Status.QUEUED)
    # How often it was handed out; a result names the attempt it belongs to.
    attempt = models.PositiveIntegerField(default=0)
    version = models.PositiveIntegerField(default=1)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    expires_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    result = models.JSONField(null=True, blank=True)
    error = models.TextField(blank=True)
    output = models.TextField(blank=True)

    objects = CommandQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=OPEN, finished_at__isnull=True)
                | Q(status__in=ENDED, finished_at__isnull=False),
                name="command_ended_has_time",
            ),
            models.CheckConstraint(
                condition=~Q(status="delivered") | Q(lease_expires_at__isnull=False),
                name="command_delivered_has_lease",
            ),
        ]
        indexes = [
            # A claim, the heartbeat's count of what waits, and the cap per device.
            models.Index(
                fields=["device", "-priority", "id"],
                condition=Q(status__in=OPEN),
                name="command_open_of_device",
            ),
            # commands_expire: one probe per sweep, over the rows that can still expire.
            models.Index(
                fields=["expires_at"], condition=Q(status__in=WAITING), name="command_due"
            ),
            # The list of an organisation and of a device, newest first.
            models.Index(fields=["organization", "-id"], name="command_recent"),
            models.Index(fields=["device", "-id"], name="command_recent_of_device"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    @property
    def is_open(self) -> bool:
        return self.status in OPEN


class SupportBundle(models.Model):
    """An archive a device sent in answer to a `bundle` command."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.PROTECT, related_name="+")
    device = models.ForeignKey(Device, models.CASCADE, related_name="bundles")
    command = models.OneToOneField(Command, models.CASCADE, related_name="bundle")
    file = models.FileField(upload_to="bundles/%Y/%m/%d")
    size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField()

    objects = OfDeviceQuerySet["SupportBundle"].as_manager()

    class Meta:
        verbose_name = "support bundle"

    def __str__(self) -> str:
        return f"bundle {self.pk}"

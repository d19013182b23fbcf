"""Support bundles: what a device sent, what was found in it, what was removed from it."""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q

from commands.models.commands import Command
from common.ids import uuid7
from devices.models import Device, OfDeviceQuerySet


class SupportBundleQuerySet(OfDeviceQuerySet["SupportBundle"]):
    def waiting(self) -> Self:
        """Complete, and nobody has looked inside yet."""
        return self.filter(status="quarantined")

    def lapsed(self, now: datetime) -> Self:
        """Kept long enough."""
        return self.filter(expires_at__lte=now)


class SupportBundle(models.Model):
    """An archive a device sent in answer to a `bundle` command.

    uploading -> quarantined -> processing -> ready | refused. Only `ready` ones are ever shown:
    their file was rewritten by the portal, without what the redaction rules found.
    """

    class Status(models.TextChoices):
        UPLOADING = "uploading"
        QUARANTINED = "quarantined"
        PROCESSING = "processing"
        READY = "ready"
        REFUSED = "refused"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.PROTECT, related_name="+")
    device = models.ForeignKey(Device, models.CASCADE, related_name="bundles")
    command = models.OneToOneField(Command, models.CASCADE, related_name="bundle")
    status = models.CharField(max_length=16, choices=Status, default=Status.UPLOADING)
    # As sent: unread, unserved, removed once the bundle was processed.
    quarantine = models.FileField(upload_to="quarantine/%Y/%m/%d", blank=True)
    # As kept: a zip the portal wrote.
    file = models.FileField(upload_to="bundles/%Y/%m/%d", blank=True)
    # Of what the device sends.
    size = models.BigIntegerField()
    received = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64)
    # Of what is kept.
    kept_size = models.BigIntegerField(default=0)
    # [{"path", "size", "kind", "lines"}], in the order of the archive.
    manifest = models.JSONField(default=list, blank=True)
    # [{"rule", "path", "count"}]: what was removed, never the thing itself.
    redactions = models.JSONField(default=list, blank=True)
    # [{"rule", "severity", "message", "path", "line", "count"}], the worst first.
    findings = models.JSONField(default=list, blank=True)
    error = models.CharField(max_length=255, blank=True)
    # Health of the device when the bundle came: a good one is what later ones are compared with.
    device_health = models.CharField(max_length=16, blank=True)
    created_at = models.DateTimeField()
    processed_at = models.DateTimeField(null=True, blank=True)
    # How often somebody began to process it; one that kills its worker is refused.
    tries = models.PositiveSmallIntegerField(default=0)
    processing_since = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField()

    objects = SupportBundleQuerySet.as_manager()

    class Meta:
        verbose_name = "support bundle"
        indexes = [
            # bundles_process and its recovery.
            models.Index(
                fields=["id"],
                condition=Q(status__in=["quarantined", "processing"]),
                name="bundle_to_process",
            ),
            # bundles_retire.
            models.Index(fields=["expires_at"], name="bundle_expiry"),
        ]

    def __str__(self) -> str:
        return f"bundle {self.pk}"

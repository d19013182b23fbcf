"""Drift from what was deployed, and the way back of devices that went wrong."""

from django.db import models
from django.db.models import Q

from common import limits
from common.ids import uuid7
from devices.models.registry import Device, OfDeviceQuerySet


class DriftReport(models.Model):
    """Files of a device that are not what its release says; one open report per device."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.CASCADE, related_name="+")
    device = models.ForeignKey(Device, models.CASCADE, related_name="drift_reports")
    # The version the device compared with, as it names it.
    release = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    # Objects with path, kind, expected and actual.
    items = models.JSONField(default=list, blank=True)
    count = models.PositiveIntegerField(default=0)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    # The command that was queued to mend it, and why none was.
    repair_command_id = models.UUIDField(null=True, blank=True)
    repair_note = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)

    objects = OfDeviceQuerySet["DriftReport"].as_manager()

    class Meta:
        verbose_name = "drift report"
        constraints = [
            models.UniqueConstraint(
                fields=["device"],
                condition=Q(resolved_at__isnull=True),
                name="drift_report_one_open",
            ),
        ]
        indexes = [
            # The list of an organisation, newest first.
            models.Index(fields=["organization", "-id"], name="drift_report_recent"),
            # drifts_repair: what is open.
            models.Index(
                fields=["organization", "last_at"],
                condition=Q(resolved_at__isnull=True),
                name="drift_report_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.count} files"


class DeviceRecovery(models.Model):
    """Safe mode, quarantine and diagnostics of a device. A device without a row is well."""

    class Source(models.TextChoices):
        OPERATOR = "operator"
        # The agent went there by itself, and said so.
        AGENT = "agent"
        # Repeated failures of updates.
        AUTOMATIC = "automatic"

    device = models.OneToOneField(Device, models.CASCADE, primary_key=True, related_name="recovery")
    organization = models.ForeignKey("accounts.Organization", models.CASCADE, related_name="+")
    # In safe mode since, by the portal's word; `confirmed_at` is the device's.
    safe_mode_since = models.DateTimeField(null=True, blank=True)
    source = models.CharField(max_length=16, choices=Source, blank=True)
    reason = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    entered_by = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    exited_at = models.DateTimeField(null=True, blank=True)
    # Failed updates in a row; a verified one sets it to 0.
    failures = models.PositiveIntegerField(default=0)
    last_failure_at = models.DateTimeField(null=True, blank=True)
    # It gets no updates until then, then a sweep lets it out.
    quarantined_until = models.DateTimeField(null=True, blank=True)
    # As the device sent it: {"logs", "disk", "last_errors", "checks": [{"name", "passed", …}]}
    diagnostics = models.JSONField(null=True, blank=True)
    diagnostics_at = models.DateTimeField(null=True, blank=True)
    # Whether all checks of the diagnostics passed: what a redeploy asks for.
    checks_passed = models.BooleanField(null=True, blank=True)

    objects = OfDeviceQuerySet["DeviceRecovery"].as_manager()

    class Meta:
        verbose_name = "recovery"
        verbose_name_plural = "recoveries"
        constraints = [
            models.CheckConstraint(
                condition=Q(safe_mode_since__isnull=True)
                | Q(source__in=["operator", "agent", "automatic"]),
                name="recovery_safe_mode_has_source",
            ),
        ]
        indexes = [
            # quarantines_end: whose time is over.
            models.Index(
                fields=["quarantined_until"],
                condition=Q(quarantined_until__isnull=False),
                name="recovery_quarantined",
            ),
        ]

    def __str__(self) -> str:
        return str(self.device_id)

"""What a device says: its latest state, its heartbeats, what happened to it."""

from datetime import datetime, timedelta

from django.db import models

from common import limits
from common.ids import uuid7
from devices.models.registry import Device, OfDeviceQuerySet


class DeviceState(models.Model):
    """The one hot row of a device: written by every heartbeat, read by every list.

    Nothing here is ever written by a form. No column that a heartbeat changes carries an index,
    so that updates stay within the page (heap-only tuples).
    """

    device = models.OneToOneField(Device, models.CASCADE, primary_key=True, related_name="state")
    organization = models.ForeignKey("accounts.Organization", models.CASCADE, related_name="+")
    health = models.CharField(max_length=16, choices=Device.Health, default=Device.Health.UNKNOWN)
    health_since = models.DateTimeField(null=True, blank=True)
    # Server time of the newest receipt; never goes back.
    last_seen = models.DateTimeField(null=True, blank=True)
    # The moment the latest metrics describe.
    at = models.DateTimeField(null=True, blank=True)
    boot_id = models.CharField(max_length=64, blank=True)
    sequence = models.BigIntegerField(null=True, blank=True)
    # Boots that are over: a late heartbeat of one of them never becomes the state again.
    past_boots = models.JSONField(default=list, blank=True)
    # Device clock minus server clock, milliseconds.
    skew_ms = models.BigIntegerField(null=True, blank=True)
    version = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    agent_version = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    commit = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    last_convergence = models.DateTimeField(null=True, blank=True)
    uptime_seconds = models.BigIntegerField(null=True, blank=True)
    cpu_percent = models.FloatField(null=True, blank=True)
    mem_percent = models.FloatField(null=True, blank=True)
    disk_percent = models.FloatField(null=True, blank=True)
    disk_free_gb = models.FloatField(null=True, blank=True)
    temperature_c = models.FloatField(null=True, blank=True)
    containers_running = models.IntegerField(null=True, blank=True)
    containers_failed = models.IntegerField(null=True, blank=True)
    metrics = models.JSONField(default=dict, blank=True)
    status = models.JSONField(default=dict, blank=True)
    errors = models.JSONField(default=list, blank=True)
    # Counted to damp flapping: times gone offline since `flaps_since`.
    flaps = models.PositiveIntegerField(default=0)
    flaps_since = models.DateTimeField(null=True, blank=True)

    objects = OfDeviceQuerySet["DeviceState"].as_manager()

    class Meta:
        verbose_name = "device state"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(health__in=Device.Health.values), name="device_health_known"
            ),
        ]

    def __str__(self) -> str:
        return str(self.device_id)


class HeartbeatQuerySet(OfDeviceQuerySet["Heartbeat"]):
    def between(self, start: datetime, end: datetime) -> "HeartbeatQuerySet":
        return self.filter(at__gte=start, at__lt=end)

    def recent(self, now: datetime, span: timedelta) -> "HeartbeatQuerySet":
        return self.filter(at__gte=now - span)


class Heartbeat(models.Model):
    """One heartbeat. The table is partitioned by day of `at` and made by hand in a migration.

    `at` is the device's time when it lies within a day of receipt, else the time of receipt.
    """

    pk = models.CompositePrimaryKey("device_id", "at", "boot_id", "sequence")
    device = models.ForeignKey(Device, models.DO_NOTHING, related_name="heartbeats")
    organization = models.ForeignKey("accounts.Organization", models.DO_NOTHING, related_name="+")
    at = models.DateTimeField()
    received_at = models.DateTimeField()
    boot_id = models.CharField(max_length=64, default="")
    # 0 where the device counts nothing.
    sequence = models.BigIntegerField(default=0)
    health = models.CharField(max_length=16)
    version = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    commit = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    uptime_seconds = models.BigIntegerField(null=True)
    cpu_percent = models.FloatField(null=True)
    mem_percent = models.FloatField(null=True)
    disk_percent = models.FloatField(null=True)
    disk_free_gb = models.FloatField(null=True)
    temperature_c = models.FloatField(null=True)
    containers_running = models.IntegerField(null=True)
    containers_failed = models.IntegerField(null=True)
    metrics = models.JSONField(null=True)
    status = models.JSONField(null=True)
    errors = models.JSONField(null=True)

    objects = HeartbeatQuerySet.as_manager()

    class Meta:
        managed = False
        db_table = "devices_heartbeat"

    def __str__(self) -> str:
        return f"{self.device_id} {self.at}"


class DeviceEvent(models.Model):
    """Something that happened to a device: enrolled, went offline, came back, an error."""

    class Severity(models.TextChoices):
        INFO = "info"
        WARNING = "warning"
        ERROR = "error"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.CASCADE, related_name="+")
    device = models.ForeignKey(Device, models.CASCADE, related_name="events")
    at = models.DateTimeField()
    kind = models.CharField(max_length=32)
    severity = models.CharField(max_length=16, choices=Severity, default=Severity.INFO)
    message = models.CharField(max_length=limits.LINE_CHARS)
    details = models.JSONField(default=dict, blank=True)

    objects = OfDeviceQuerySet["DeviceEvent"].as_manager()

    class Meta:
        verbose_name = "device event"
        indexes = [
            # The event history of one device, newest first.
            models.Index(fields=["device", "-at"], name="device_event_recent"),
        ]

    def __str__(self) -> str:
        return self.message


class ServicePulse(models.Model):
    """The last sign of life of a part of the portal itself."""

    name = models.CharField(primary_key=True, max_length=32)
    # Since when it has been there without a gap.
    since = models.DateTimeField()
    at = models.DateTimeField()

    class Meta:
        verbose_name = "service pulse"

    def __str__(self) -> str:
        return self.name

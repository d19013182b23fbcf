"""What a device is: its identity, place in the rollout, and groups."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from guardian.shortcuts import get_objects_for_user

from accounts.tenancy import TenantQuerySet
from common import limits
from common.ids import uuid7

if TYPE_CHECKING:
    from accounts.principals import Principal

GRANT = "operate_devicegroup"
Row = TypeVar("Row", bound=models.Model)


class DeviceGroupQuerySet(TenantQuerySet["DeviceGroup"]):
    def visible_to(self, principal: "Principal") -> Self:  # type: ignore[override]
        """Groups of the organisation; for a limited person only the granted ones."""
        groups = super().visible_to(principal)
        if not principal.limited:
            return groups
        # Grants are made to people only.
        granted: Any = get_objects_for_user(
            principal.user, f"devices.{GRANT}", groups, use_groups=False, with_superuser=False
        )
        return cast("Self", granted)


class DeviceGroup(models.Model):
    """A set of devices people are granted and commands are sent to."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.CASCADE, related_name="+")
    name = models.CharField(max_length=limits.NAME_CHARS)
    description = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = DeviceGroupQuerySet.as_manager()

    class Meta:
        verbose_name = "device group"
        permissions = [(GRANT, "Sees and operates the devices of the group")]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"],
                name="device_group_name_unique",
                violation_error_message="A group with this name exists already.",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class DeviceQuerySet(TenantQuerySet["Device"]):
    def visible_to(self, principal: "Principal") -> Self:  # type: ignore[override]
        """Devices of the organisation; for a limited person those of granted groups."""
        devices = super().visible_to(principal)
        if not principal.limited:
            return devices
        groups = DeviceGroup.objects.visible_to(principal)
        members = GroupMember.objects.filter(group__in=groups)
        return devices.filter(pk__in=members.values("device_id"))

    def present(self) -> Self:
        """Everything that has not been retired."""
        return self.exclude(lifecycle=Device.Lifecycle.RETIRED)

    def locked(self, now: datetime) -> Self:
        """Devices with a version lock that is in force."""
        holds = Q(version_lock_expires_at__isnull=True) | Q(version_lock_expires_at__gt=now)
        return self.exclude(version_lock="").filter(holds)

    def lock_stale(self, now: datetime) -> Self:
        """Devices whose version lock has run out and still stands there; it counts as none."""
        return self.exclude(version_lock="").filter(version_lock_expires_at__lte=now)


class Device(models.Model):
    """A machine of an organisation, known outside by `device_id`."""

    class Lifecycle(models.TextChoices):
        PENDING = "pending"
        ACTIVE = "active"
        QUARANTINED = "quarantined"
        RETIRED = "retired"

    class Segment(models.TextChoices):
        CANARY = "canary"
        EARLY = "early"
        GENERAL = "general"

    class Health(models.TextChoices):
        UNKNOWN = "unknown"
        HEALTHY = "healthy"
        DEGRADED = "degraded"
        FAILED = "failed"
        OFFLINE = "offline"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.PROTECT, related_name="+")
    device_id = models.CharField(
        "device id",
        max_length=64,
        validators=[RegexValidator(limits.DEVICE_ID_PATTERN)],
        help_text="Letters, digits, dot, underscore and hyphen; unique in the organisation.",
    )
    name = models.CharField(max_length=limits.NAME_CHARS, blank=True)
    lifecycle = models.CharField(max_length=16, choices=Lifecycle, default=Lifecycle.ACTIVE)
    hostname = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    platform = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    arch = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    role = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    branch = models.CharField(max_length=limits.SHORT_CHARS, default="main", blank=True)
    segment = models.CharField(max_length=16, choices=Segment, default=Segment.GENERAL)
    ip_address = models.GenericIPAddressField("IP address", null=True, blank=True)
    serial = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    hardware_profile = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    owner = models.CharField(max_length=limits.NAME_CHARS, blank=True)
    site = models.CharField(max_length=limits.NAME_CHARS, blank=True)
    latitude = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(-90), MaxValueValidator(90)]
    )
    longitude = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(-180), MaxValueValidator(180)]
    )
    metadata = models.JSONField(default=dict, blank=True)
    tags = ArrayField(models.CharField(max_length=limits.SHORT_CHARS), default=list, blank=True)

    maintenance_mode = models.BooleanField(default=False)
    update_enabled = models.BooleanField(default=True)
    safe_mode = models.BooleanField(default=False)
    version_lock = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    version_lock_owner = models.CharField(max_length=limits.NAME_CHARS, blank=True)
    version_lock_reason = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    version_lock_expires_at = models.DateTimeField(null=True, blank=True)
    # Written by whatever decides what should run; a string, since releases live on a higher floor.
    target_version = models.CharField(max_length=limits.SHORT_CHARS, blank=True)

    update_interval_s = models.PositiveIntegerField(
        default=300, validators=[MinValueValidator(1), MaxValueValidator(86_400)]
    )
    heartbeat_interval_s = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[
            MinValueValidator(limits.HEARTBEAT_INTERVAL_MIN_S),
            MaxValueValidator(limits.HEARTBEAT_INTERVAL_MAX_S),
        ],
        help_text="Seconds; empty takes the organisation's.",
    )
    command_poll_interval_s = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(86_400)],
        help_text="Seconds; empty takes the organisation's.",
    )

    status_override = models.CharField(max_length=16, choices=Health, blank=True)
    status_override_reason = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    status_override_until = models.DateTimeField(null=True, blank=True)

    enrolled_by = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    retired_at = models.DateTimeField(null=True, blank=True)

    groups = models.ManyToManyField(DeviceGroup, through="GroupMember", related_name="devices")

    objects = DeviceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "device_id"],
                name="device_id_unique",
                violation_error_message="A device with this id exists already.",
            ),
            models.CheckConstraint(
                condition=Q(device_id__regex=limits.DEVICE_ID_PATTERN), name="device_id_shaped"
            ),
            models.CheckConstraint(
                condition=Q(lifecycle="retired", retired_at__isnull=False)
                | Q(lifecycle__in=["pending", "active", "quarantined"], retired_at__isnull=True),
                name="device_lifecycle_known",
            ),
            models.CheckConstraint(
                condition=Q(segment__in=["canary", "early", "general"]),
                name="device_segment_known",
            ),
        ]
        indexes = [
            # The list of an organisation, by role and by segment.
            models.Index(fields=["organization", "role"], name="device_by_role"),
            models.Index(fields=["organization", "segment"], name="device_by_segment"),
            # The list filtered by tag.
            GinIndex(fields=["tags"], name="device_by_tag"),
            # devices_mark_offline: the shortest interval of an organisation's devices.
            models.Index(
                fields=["organization", "heartbeat_interval_s"],
                condition=models.Q(heartbeat_interval_s__isnull=False),
                name="device_own_interval",
            ),
        ]

    def __str__(self) -> str:
        return self.device_id

    @property
    def is_retired(self) -> bool:
        return self.lifecycle == self.Lifecycle.RETIRED

    def locked_to(self, now: datetime) -> str:
        """Return the version a lock that is in force holds the device to, or nothing."""
        expires = self.version_lock_expires_at
        return self.version_lock if expires is None or expires > now else ""


class OfDeviceQuerySet(TenantQuerySet[Row]):
    def visible_to(self, principal: "Principal") -> Self:  # type: ignore[override]
        """Rows of devices the principal sees; a device sees its own."""
        rows = super().visible_to(principal)
        if principal.kind == "device":
            return rows.filter(device_id=principal.id)
        if principal.limited:
            return rows.filter(device__in=Device.objects.visible_to(principal))
        return rows


class GroupMember(models.Model):
    """A device in a group of the same organisation; the database checks that it is the same."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.CASCADE, related_name="+")
    group = models.ForeignKey(DeviceGroup, models.CASCADE, related_name="members")
    device = models.ForeignKey(Device, models.CASCADE, related_name="group_members")

    objects = TenantQuerySet["GroupMember"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["group", "device"], name="group_member_once"),
        ]

    def __str__(self) -> str:
        return str(self.pk)

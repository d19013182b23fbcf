"""How a release reaches its devices: who, in which order, how fast, and when it stops itself."""

from typing import TYPE_CHECKING, Self

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q

from accounts.tenancy import TenantQuerySet
from common import limits
from common.ids import uuid7
from devices.models import Device, OfDeviceQuerySet
from releases.models.releases import Release

if TYPE_CHECKING:
    from accounts.principals import Principal

UNSTARTED = ["draft", "awaiting_approval"]
# What the sweep looks at.
LIVE = ["running", "paused"]
STOPPED = ["halted", "completed", "rolled_back"]


class RolloutQuerySet(TenantQuerySet["Rollout"]):
    def visible_to(self, principal: "Principal") -> Self:  # type: ignore[override]
        """Rollouts of the organisation; for a limited person those with a device of theirs."""
        rollouts = super().visible_to(principal)
        if principal.kind == "device":
            return rollouts.none()
        if not principal.limited:
            return rollouts
        targets = RolloutTarget.objects.visible_to(principal)
        return rollouts.filter(pk__in=targets.values("rollout_id"))

    def live(self) -> Self:
        return self.filter(status__in=LIVE)


class Rollout(models.Model):
    """One plan to bring one release to a set of devices.

    draft -> awaiting_approval -> running <-> paused; both -> halted | completed;
    halted -> running again with a reason; halted, paused, running, completed -> rolled_back.
    """

    class Status(models.TextChoices):
        DRAFT = "draft"
        AWAITING_APPROVAL = "awaiting_approval", "awaiting approval"
        RUNNING = "running"
        PAUSED = "paused"
        HALTED = "halted"
        COMPLETED = "completed"
        ROLLED_BACK = "rolled_back", "rolled back"

    class OnHalt(models.TextChoices):
        HALT = "halt", "stop and wait for people"
        ROLLBACK = "rollback", "stop and bring back what was updated"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.PROTECT, related_name="+")
    release = models.ForeignKey(Release, models.PROTECT, related_name="rollouts")
    name = models.CharField(max_length=limits.NAME_CHARS)
    status = models.CharField(max_length=24, choices=Status, default=Status.DRAFT)
    # Decides with the device id who comes first; never changes.
    salt = models.CharField(max_length=32, editable=False)
    # As commands.services.batch_targets.choose reads it.
    selection = models.JSONField(default=dict, blank=True)
    # Devices that come to fit the selection later join in.
    include_new = models.BooleanField(default=True)
    # Percent of the devices that get nothing until a person says so: they show what is normal.
    holdback_percent = models.PositiveSmallIntegerField(
        default=0, validators=[MaxValueValidator(50)]
    )
    # New updates per minute, and updates in flight at once. Empty: no bound.
    rate_per_minute = models.PositiveIntegerField(null=True, blank=True)
    concurrency = models.PositiveIntegerField(null=True, blank=True)
    use_calendars = models.BooleanField(default=True)
    # {"start": "22:00", "duration_minutes": 120, "timezone": "Europe/Berlin", "days": [0..6]}
    window = models.JSONField(null=True, blank=True)
    # [{"from", "to", "reason"}], RFC 3339.
    blackouts = models.JSONField(default=list, blank=True)
    # [{"failure": "all" | a failure class, "threshold_percent", "min_completed"}]
    failure_rules = models.JSONField(default=list, blank=True)
    # {"enabled", "alpha", "observe_minutes"}: docs/decisions/0009 says what is tested.
    regression = models.JSONField(default=dict, blank=True)
    on_halt = models.CharField(max_length=16, choices=OnHalt, default=OnHalt.HALT)
    # Healthy minutes until a claimed update is verified, and how long it may take.
    verify_minutes = models.PositiveIntegerField(default=5)
    verify_timeout_minutes = models.PositiveIntegerField(default=60)
    # How long a device may take from the offer to its claim.
    update_timeout_minutes = models.PositiveIntegerField(default=120)
    # The next stage opens by itself once the soak time of this one has passed.
    auto_promote = models.BooleanField(default=False)
    approval_needed = models.BooleanField(default=False)
    approved_at = models.DateTimeField(null=True, blank=True)
    approved_by = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    # The proof that its rules fire: see releases.services.drills.
    drill = models.JSONField(null=True, blank=True)
    # What the regression test has seen: {"updated_worse", "control_worse", "ties", "log_e"}.
    evidence = models.JSONField(default=dict, blank=True)
    # Devices it covers, as counted when it was started or joined last.
    total = models.PositiveIntegerField(default=0)
    # When it last looked for devices that have come to fit the selection.
    joined_at = models.DateTimeField(null=True, blank=True, editable=False)
    creator_id = models.UUIDField(null=True, editable=False)
    created_by = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # Why it was paused, halted or rolled back, and the rule that fired.
    reason = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    halted_by_rule = models.JSONField(null=True, blank=True)

    objects = RolloutQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=UNSTARTED, started_at__isnull=True, finished_at__isnull=True)
                | Q(
                    status__in=[*LIVE, "halted"], started_at__isnull=False, finished_at__isnull=True
                )
                | Q(
                    status__in=["completed", "rolled_back"],
                    started_at__isnull=False,
                    finished_at__isnull=False,
                ),
                name="rollout_status_has_times",
            ),
            models.UniqueConstraint(
                fields=["release"],
                condition=Q(status__in=[*UNSTARTED, *LIVE, "halted"]),
                name="rollout_one_unended",
                violation_error_message="The release has a rollout that has not ended.",
            ),
        ]
        indexes = [
            # The list of an organisation, newest first.
            models.Index(fields=["organization", "-id"], name="rollout_recent"),
            # rollouts_advance: what can still move.
            models.Index(fields=["id"], condition=Q(status__in=LIVE), name="rollout_live"),
        ]

    def __str__(self) -> str:
        return self.name


class RolloutStage(models.Model):
    """One segment's turn. Stages open in order; a percentage is raised and never lowered."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.PROTECT, related_name="+")
    rollout = models.ForeignKey(Rollout, models.CASCADE, related_name="stages")
    position = models.PositiveSmallIntegerField()
    segment = models.CharField(max_length=16, choices=Device.Segment)
    percentage = models.PositiveSmallIntegerField(default=100, validators=[MaxValueValidator(100)])
    # Minutes from the moment that `soak_after_percent` of its devices have ended.
    soak_minutes = models.PositiveIntegerField(default=60)
    soak_after_percent = models.PositiveSmallIntegerField(
        default=80, validators=[MaxValueValidator(100)]
    )
    opened_at = models.DateTimeField(null=True, blank=True)
    opened_by = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    soaking_since = models.DateTimeField(null=True, blank=True)
    # Why the soak time was not waited for, and who decided that.
    override_reason = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    overridden_by = models.CharField(max_length=limits.LINE_CHARS, blank=True)

    objects = TenantQuerySet["RolloutStage"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["rollout", "segment"], name="rollout_stage_segment"),
            models.UniqueConstraint(fields=["rollout", "position"], name="rollout_stage_position"),
            models.CheckConstraint(
                condition=Q(percentage__lte=100), name="rollout_stage_percentage_bounded"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.segment} {self.percentage} %"


class RolloutTarget(models.Model):
    """A device of a rollout: its place in the order, and its latest update by this rollout.

    `bucket` is 0 to 9999, from sha256 of the rollout's salt and the device id: a device is in a
    stage of P percent when its bucket is below 100 x P. Raising P never drops one.
    """

    # There are as many as devices. The keys of releases.0002_guards hold each to its rollout, its
    # device and its update in one organisation; a second key for each would be looked up for
    # nothing, and so would indexes that `rollout_target_once` begins with.
    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(
        "accounts.Organization",
        models.PROTECT,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    rollout = models.ForeignKey(
        Rollout, models.CASCADE, related_name="targets", db_constraint=False, db_index=False
    )
    device = models.ForeignKey(Device, models.CASCADE, related_name="+", db_constraint=False)
    segment = models.CharField(max_length=16, choices=Device.Segment)
    bucket = models.PositiveSmallIntegerField()
    # Kept out until a person lets it in: the hold-back group, or a reason.
    left_out = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    added_at = models.DateTimeField()
    update = models.OneToOneField(
        "releases.DeviceUpdate",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="target",
        db_constraint=False,
    )

    objects = OfDeviceQuerySet["RolloutTarget"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["rollout", "device"], name="rollout_target_once"),
        ]
        indexes = [
            # rollouts_advance: the next devices of the open stages.
            models.Index(
                fields=["rollout", "segment", "bucket"],
                condition=Q(update__isnull=True, left_out=""),
                name="rollout_target_waiting",
            ),
            # pairs_match: devices that stay as they are.
            models.Index(
                fields=["rollout", "bucket"],
                condition=Q(update__isnull=True) & ~Q(left_out=""),
                name="rollout_target_kept_out",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rollout_id} {self.device_id}"


class RolloutEvent(models.Model):
    """Something that happened to a rollout; what its page and the console's stream tell."""

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey("accounts.Organization", models.PROTECT, related_name="+")
    rollout = models.ForeignKey(Rollout, models.CASCADE, related_name="events")
    at = models.DateTimeField()
    kind = models.CharField(max_length=32)
    message = models.CharField(max_length=limits.LINE_CHARS)
    details = models.JSONField(default=dict, blank=True)

    objects = TenantQuerySet["RolloutEvent"].as_manager()

    class Meta:
        verbose_name = "rollout event"
        indexes = [
            # The history of one rollout, newest first.
            models.Index(fields=["rollout", "-id"], name="rollout_event_recent"),
        ]

    def __str__(self) -> str:
        return self.message


class SiteCalendarQuerySet(TenantQuerySet["SiteCalendar"]):
    def visible_to(self, principal: "Principal") -> Self:  # type: ignore[override]
        """Calendars of the organisation; for a limited person those of sites of their devices."""
        calendars = super().visible_to(principal)
        if principal.kind == "device":
            return calendars.none()
        if not principal.limited:
            return calendars
        devices = Device.objects.visible_to(principal)
        return calendars.filter(site__in=devices.values("site"))


class SiteCalendar(models.Model):
    """When devices of a site may be updated. A site without one may be updated at any time."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.PROTECT, related_name="+")
    # As in Device.site.
    site = models.CharField(max_length=limits.NAME_CHARS)
    timezone = models.CharField(max_length=limits.SHORT_CHARS, default="UTC")
    # [{"start": "22:00", "duration_minutes": 120, "days": [0..6]}]; none: always open.
    windows = models.JSONField(default=list, blank=True)
    # [{"from", "to", "reason"}], RFC 3339.
    blackouts = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField()

    objects = SiteCalendarQuerySet.as_manager()

    class Meta:
        verbose_name = "site calendar"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "site"],
                name="site_calendar_once",
                violation_error_message="The site has a calendar already.",
            ),
        ]

    def __str__(self) -> str:
        return self.site

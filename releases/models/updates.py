"""What became of a release on a device: one row per try, from the offer to the proof."""

from typing import Self

from django.db import models
from django.db.models import Q

from accounts.tenancy import TenantQuerySet
from common import limits
from common.ids import uuid7
from devices.models import Device, OfDeviceQuerySet
from releases.models.releases import Artifact, Release
from releases.models.rollouts import Rollout

# Nothing has begun on the device: a halt takes these back.
WAITING = ["scheduled", "offered"]
WORKING = ["downloading", "installing", "awaiting_confirmation"]
# What a rollout's concurrency bounds.
IN_FLIGHT = ["offered", *WORKING]
OPEN = [*WAITING, *WORKING, "claimed"]
ENDED = ["verified", "failed", "rolled_back", "cancelled"]
# status -> where it may go. Held by a trigger, too.
MOVES: dict[str, list[str]] = {
    "scheduled": ["offered", "downloading", "installing", "claimed", "failed", "cancelled"],
    "offered": ["scheduled", "downloading", "installing", "claimed", "failed", "rolled_back",
                "cancelled"],
    "downloading": ["installing", "awaiting_confirmation", "claimed", "failed", "rolled_back",
                    "cancelled"],
    "installing": ["awaiting_confirmation", "claimed", "failed", "rolled_back", "cancelled"],
    "awaiting_confirmation": ["claimed", "failed", "rolled_back", "cancelled"],
    "claimed": ["verified", "failed", "rolled_back"],
}  # fmt: skip


class DeviceUpdateQuerySet(OfDeviceQuerySet["DeviceUpdate"]):
    def open(self) -> Self:
        return self.filter(status__in=OPEN)


class DeviceUpdate(models.Model):
    """One try to bring one device to one release.

    scheduled -> offered -> downloading -> installing -> awaiting_confirmation -> claimed ->
    verified | failed | rolled_back | cancelled. *Claimed* is the device's word, *verified* is what
    its later heartbeats prove. Its id is a positive int32: hawkBit clients read no other.
    """

    class Status(models.TextChoices):
        SCHEDULED = "scheduled"
        OFFERED = "offered"
        DOWNLOADING = "downloading"
        INSTALLING = "installing"
        AWAITING_CONFIRMATION = "awaiting_confirmation", "awaiting confirmation"
        CLAIMED = "claimed"
        VERIFIED = "verified"
        FAILED = "failed"
        ROLLED_BACK = "rolled_back", "rolled back"
        CANCELLED = "cancelled"

    class Kind(models.TextChoices):
        ROLLOUT = "rollout"
        # A way back: to the release the device ran before.
        ROLLBACK = "rollback"
        # Chosen for one device: by recovery, or by an `update` command.
        REDEPLOY = "redeploy"
        COMMAND = "command"
        # The device did it on its own and told afterwards.
        REPORTED = "reported"

    class FailureClass(models.TextChoices):
        NETWORK = "network"
        # Signature, checksum, or metadata that is too old.
        VERIFICATION = "verification"
        SPACE = "space"
        INSTALL = "install"
        HEALTH = "health"
        TIMEOUT = "timeout"
        INTERRUPTED = "interrupted"
        # The device's owner does not allow it.
        REFUSED = "refused"
        # It said that it runs the release, and its heartbeats say otherwise.
        FALSE_SUCCESS = "false_success", "false success"

    id = models.AutoField(primary_key=True)
    organization = models.ForeignKey("accounts.Organization", models.PROTECT, related_name="+")
    device = models.ForeignKey(Device, models.CASCADE, related_name="updates")
    release = models.ForeignKey(
        Release, models.PROTECT, null=True, blank=True, related_name="updates"
    )
    artifact = models.ForeignKey(
        Artifact, models.PROTECT, null=True, blank=True, related_name="updates"
    )
    rollout = models.ForeignKey(
        Rollout, models.SET_NULL, null=True, blank=True, related_name="updates"
    )
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.ROLLOUT)
    segment = models.CharField(max_length=16, blank=True)
    from_version = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    from_commit = models.CharField(max_length=64, blank=True)
    to_version = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    to_commit = models.CharField(max_length=64, blank=True)
    status = models.CharField(max_length=24, choices=Status, default=Status.SCHEDULED)
    # Its rollout is paused: a device that has not begun to install waits.
    is_paused = models.BooleanField(default=False)
    # While it is scheduled: one of the rollout's places is kept for its device, which is there.
    keeps_place = models.BooleanField(default=False)
    # What the device does at the moment, in its words.
    step = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    progress = models.PositiveSmallIntegerField(null=True, blank=True)
    failure_class = models.CharField(max_length=16, choices=FailureClass, blank=True)
    error_code = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    error = models.TextField(max_length=limits.COMMAND_ERROR_CHARS, blank=True)
    health_check_passed = models.BooleanField(null=True, blank=True)
    # {step: seconds}, measured by the device's monotonic clock.
    timings = models.JSONField(default=dict, blank=True)
    verify_minutes = models.PositiveIntegerField(default=5)
    scheduled_at = models.DateTimeField()
    offered_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)
    # Since when, without a gap, its heartbeats show the version and good health.
    healthy_since = models.DateTimeField(null=True, blank=True)
    # When a sweep gives it up: in flight from the offer on, and claimed from the claim on.
    deadline_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    created_by = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    reason = models.CharField(max_length=limits.LINE_CHARS, blank=True)

    objects = DeviceUpdateQuerySet.as_manager()

    class Meta:
        verbose_name = "device update"
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=OPEN, finished_at__isnull=True)
                | Q(status__in=ENDED, finished_at__isnull=False),
                name="device_update_ended_has_time",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["claimed", "verified"]) | Q(claimed_at__isnull=False),
                name="device_update_claimed_has_time",
            ),
            models.UniqueConstraint(
                fields=["device"], condition=Q(status__in=OPEN), name="device_update_one_open"
            ),
        ]
        indexes = [
            # The history of a device, newest first.
            models.Index(fields=["device", "-id"], name="device_update_recent"),
            # Progress, failures and in-flight counts of a rollout.
            models.Index(fields=["rollout", "status"], name="device_update_of_rollout"),
            # How many of a rollout began in the last minute.
            models.Index(
                fields=["rollout", "scheduled_at"],
                condition=Q(kind="rollout"),
                name="device_update_rate",
            ),
            # How many places of a rollout are held: counted without looking at the rows.
            models.Index(
                fields=["rollout", "status"],
                condition=Q(kind="rollout")
                & (Q(status__in=IN_FLIGHT) | Q(status="scheduled", keeps_place=True)),
                name="device_update_places",
            ),
            # How many wait without one.
            models.Index(
                fields=["rollout"],
                condition=Q(kind="rollout", status="scheduled", keeps_place=False),
                name="device_update_waiting",
            ),
            # pairs_match: what was claimed a short while ago.
            models.Index(
                fields=["rollout", "claimed_at"],
                condition=Q(kind="rollout", claimed_at__isnull=False),
                name="device_update_claims",
            ),
            # updates_time_out and updates_verify.
            models.Index(
                fields=["status", "deadline_at"],
                condition=Q(status__in=OPEN),
                name="device_update_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.from_version or '?'} → {self.to_version}"

    @property
    def is_open(self) -> bool:
        return self.status in OPEN


class UpdateEvent(models.Model):
    """One step of an update, written by a trigger: nobody can forget it or make one up."""

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey("accounts.Organization", models.PROTECT, related_name="+")
    update = models.ForeignKey(DeviceUpdate, models.CASCADE, related_name="events")
    at = models.DateTimeField()
    from_status = models.CharField(max_length=24, blank=True)
    to_status = models.CharField(max_length=24)
    step = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    detail = models.CharField(max_length=limits.LINE_CHARS, blank=True)

    objects = TenantQuerySet["UpdateEvent"].as_manager()

    class Meta:
        verbose_name = "update event"
        indexes = [
            # The timeline of one update.
            models.Index(fields=["update", "id"], name="update_event_of_update"),
        ]

    def __str__(self) -> str:
        return self.to_status


class HealthPair(models.Model):
    """An updated device and one like it that was not updated, compared after the same time.

    The pairs of a rollout are what its regression test counts: docs/decisions/0009.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.PROTECT, related_name="+")
    rollout = models.ForeignKey(Rollout, models.CASCADE, related_name="pairs")
    update = models.OneToOneField(DeviceUpdate, models.CASCADE, related_name="pair")
    control = models.ForeignKey(Device, models.CASCADE, related_name="+")
    matched_at = models.DateTimeField()
    due_at = models.DateTimeField()
    judged_at = models.DateTimeField(null=True, blank=True)
    updated_is_bad = models.BooleanField(null=True)
    control_is_bad = models.BooleanField(null=True)

    objects = TenantQuerySet["HealthPair"].as_manager()

    class Meta:
        verbose_name = "health pair"
        indexes = [
            # pairs_judge: what is due.
            models.Index(
                fields=["due_at"], condition=Q(judged_at__isnull=True), name="health_pair_due"
            ),
            # The evidence of a rollout.
            models.Index(fields=["rollout", "judged_at"], name="health_pair_of_rollout"),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class ChaosOrder(models.Model):
    """What a device is asked to do wrong with its next updates, where hooks are switched on."""

    class Mode(models.TextChoices):
        FAIL = "fail"
        HANG = "hang"
        FALSE_SUCCESS = "false_success", "false success"

    device = models.OneToOneField(Device, models.CASCADE, primary_key=True, related_name="+")
    organization = models.ForeignKey("accounts.Organization", models.PROTECT, related_name="+")
    mode = models.CharField(max_length=16, choices=Mode)
    at = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    # Updates it still applies to, and the one it was given with last.
    times = models.PositiveSmallIntegerField(default=1)
    update_id = models.IntegerField(null=True, blank=True)
    created_at = models.DateTimeField()

    objects = OfDeviceQuerySet["ChaosOrder"].as_manager()

    class Meta:
        verbose_name = "chaos order"

    def __str__(self) -> str:
        return f"{self.mode} {self.at}".strip()

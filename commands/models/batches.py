"""One order to many devices: who gets it, in which waves, and when to stop."""

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Q

from accounts.tenancy import TenantQuerySet
from commands.models.commands import Command
from common import limits
from common.ids import uuid7
from devices.models import Device, OfDeviceQuerySet

if TYPE_CHECKING:
    from accounts.principals import Principal


MOVING = ["scheduled", "running", "paused"]
UNENDED = ["draft", "awaiting_approval", *MOVING]
FINISHED = ["completed", "aborted", "cancelled"]
# Why the commands of a paused batch are held.
PAUSED_REASON = "batch paused"


class CommandBatchQuerySet(TenantQuerySet["CommandBatch"]):
    def visible_to(self, principal: "Principal") -> Self:  # type: ignore[override]
        """Batches of the organisation; for a limited person those with a device of theirs."""
        batches = super().visible_to(principal)
        if principal.kind == "device":
            return batches.none()
        if not principal.limited:
            return batches
        targets = BatchTarget.objects.visible_to(principal)
        # What was pushed has commands and no targets.
        pushed = Command.objects.visible_to(principal).filter(batch__isnull=False)
        return batches.filter(
            Q(pk__in=targets.values("batch_id")) | Q(pk__in=pushed.values("batch_id"))
        )

    def moving(self) -> Self:
        """What the sweep looks at."""
        return self.filter(Q(status__in=MOVING) | ~Q(cancelling=""))


class CommandBatch(models.Model):
    """A frozen list of devices that get the same command, wave after wave.

    draft -> awaiting_approval -> scheduled -> running <-> paused; running -> completed | aborted;
    anything that has not ended -> cancelled.
    """

    class Status(models.TextChoices):
        DRAFT = "draft"
        AWAITING_APPROVAL = "awaiting_approval", "awaiting approval"
        SCHEDULED = "scheduled"
        RUNNING = "running"
        PAUSED = "paused"
        COMPLETED = "completed"
        ABORTED = "aborted"
        CANCELLED = "cancelled"

    class End(models.TextChoices):
        """What happens at `end_at` to what has not ended."""

        STOP = "stop", "start no more, let the rest finish"
        CANCEL = "cancel", "cancel what waits"
        FORCE_CANCEL = "force_cancel", "cancel everything"

    class Origin(models.TextChoices):
        CONSOLE = "console"
        API = "api"
        # POST commands/batch: each item has its own type and payload.
        PUSH = "push"

    class Cancelling(models.TextChoices):
        """Which of its commands an ended batch still takes back."""

        WAITING = "waiting"
        ALL = "all"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("accounts.Organization", models.PROTECT, related_name="+")
    name = models.CharField(max_length=limits.NAME_CHARS)
    origin = models.CharField(max_length=8, choices=Origin, default=Origin.API)
    status = models.CharField(max_length=24, choices=Status, default=Status.DRAFT)
    kind = models.CharField("type", max_length=32, blank=True)
    payload = models.JSONField(default=dict, blank=True)
    # What else every command gets: priority, expires_in_s, timeout_s, retries, expectations.
    options = models.JSONField(default=dict, blank=True)
    # How the devices were chosen, as it was asked for; the list itself is in BatchTarget.
    selection = models.JSONField(default=dict, blank=True)
    # [{"device_id", "reason"}]: ids of the list that are no device, or stand in it twice.
    unmatched = models.JSONField(default=list, blank=True)
    # Devices per wave, as frozen.
    wave_sizes = models.JSONField(default=list, blank=True)
    # [{"size": 10} or {"percent": 25}, ...]; what is left over is the last wave.
    waves = models.JSONField(default=list, blank=True)
    wave_pause_s = models.PositiveIntegerField(default=0)
    # [{"failure": "failed"|"rejected"|"timed_out"|"all", "threshold_percent", "min_completed"}]
    abort_rules = models.JSONField(default=list, blank=True)
    start_at = models.DateTimeField(null=True, blank=True)
    end_at = models.DateTimeField(null=True, blank=True)
    end_behavior = models.CharField(max_length=16, choices=End, default=End.STOP)
    # {"start": "22:00", "duration_minutes": 120, "timezone": "Europe/Berlin", "days": [0..6]}
    window = models.JSONField(null=True, blank=True)
    # Of waves, from 0: the one that is out. -1 before the first.
    wave = models.IntegerField(default=-1)
    next_wave_at = models.DateTimeField(null=True, blank=True)
    approval_needed = models.BooleanField(default=False)
    approved_at = models.DateTimeField(null=True, blank=True)
    approved_by = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    # The person or key that made it: somebody else has to approve.
    creator_id = models.UUIDField(null=True, editable=False)
    created_by = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # The sweep takes commands back by the thousand: until then this says which.
    cancelling = models.CharField(max_length=8, choices=Cancelling, blank=True, editable=False)
    # Why it was paused, aborted or cancelled.
    reason = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    retry_of = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="+")

    objects = CommandBatchQuerySet.as_manager()

    class Meta:
        verbose_name = "command batch"
        verbose_name_plural = "command batches"
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=FINISHED, finished_at__isnull=False)
                | Q(status__in=UNENDED, finished_at__isnull=True),
                name="batch_ended_has_time",
            ),
        ]
        indexes = [
            # The list of an organisation, newest first.
            models.Index(fields=["organization", "-id"], name="batch_recent"),
            # batches_advance: what can still move.
            models.Index(
                fields=["id"],
                condition=Q(status__in=MOVING) | ~Q(cancelling=""),
                name="batch_moving",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def total(self) -> int:
        """How many devices take part."""
        return sum(self.wave_sizes)

    @property
    def is_over(self) -> bool:
        return self.status in FINISHED


class BatchTarget(models.Model):
    """A device of a batch: its wave and its command, or why it was left out."""

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey("accounts.Organization", models.PROTECT, related_name="+")
    batch = models.ForeignKey(CommandBatch, models.CASCADE, related_name="targets")
    device = models.ForeignKey(Device, models.CASCADE, related_name="+")
    wave = models.PositiveIntegerField(null=True)
    # Empty: it takes part.
    skipped = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    command = models.OneToOneField(
        Command, models.SET_NULL, null=True, blank=True, related_name="target"
    )

    objects = OfDeviceQuerySet["BatchTarget"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["batch", "device"], name="batch_target_once"),
        ]
        indexes = [
            # The devices of a wave that have no command yet.
            models.Index(
                fields=["batch", "wave", "id"],
                condition=Q(command__isnull=True, skipped=""),
                name="batch_target_waiting",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.batch_id} {self.device_id}"

"""A command, its attempts, its trail and what it printed."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self, TypeVar

from django.db import models
from django.db.models import ExpressionWrapper, F, Q, Value

from accounts.tenancy import TenantQuerySet
from common import limits
from common.ids import uuid7
from devices.models import Device, OfDeviceQuerySet

if TYPE_CHECKING:
    from accounts.principals import Principal

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
    # Back to queued: the attempt failed and the command's retry policy has another one.
    "running": ["succeeded", "failed", "rejected", "timed_out", "queued", "cancelled"],
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
        """Begun, and over the time for the whole or for the step."""
        late = Q(run_deadline__lte=now) | Q(step_deadline__lte=now)
        return self.filter(late, status="running")

    def silent_for_long(self, now: datetime) -> Self:
        """Waiting for a device that was not heard of for the time their reconnect rule names."""
        late = ExpressionWrapper(
            Value(now) - F("reconnect_after_s") * timedelta(seconds=1),
            output_field=models.DateTimeField(),
        )
        unheard = Q(device__state__last_seen__isnull=True) | Q(device__state__last_seen__lt=late)
        return self.filter(
            unheard,
            status="queued",
            held_reason="",
            reconnect__in=["drop", "ask"],
            created_at__lt=late,
        )

    def cancel_overdue(self, now: datetime) -> Self:
        """Asked to stop, and the device did not answer in time."""
        return self.filter(status__in=OPEN, cancel_deadline__lte=now)


class Command(models.Model):
    """One order to one device. It ends exactly once; its attempts are rows of their own."""

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

    class Mismatch(models.TextChoices):
        """What happens when an expectation does not hold at the claim."""

        DROP = "drop", "end it as stale"
        WAIT = "wait", "wait until it holds"

    class Reconnect(models.TextChoices):
        """What happens when the device comes back after a long time."""

        RUN = "run", "run it all the same"
        DROP = "drop", "drop it"
        ASK = "ask", "hold it and ask"

    class FailureClass(models.TextChoices):
        NETWORK = "network"
        TIMEOUT = "timeout"
        FAILED = "failed"
        REJECTED = "rejected"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # The indexes below begin with these columns: Django's own would only cost every write.
    organization = models.ForeignKey(
        "accounts.Organization", models.PROTECT, db_index=False, related_name="+"
    )
    device = models.ForeignKey(Device, models.CASCADE, db_index=False, related_name="commands")
    batch = models.ForeignKey(
        "commands.CommandBatch",
        models.SET_NULL,
        null=True,
        blank=True,
        db_index=False,
        related_name="commands",
    )
    # The command this one repeats.
    retry_of = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, db_index=False, related_name="+"
    )
    kind = models.CharField("type", max_length=32)
    payload = models.JSONField(default=dict, blank=True)
    # The device's own count: commands of one priority run in this order.
    sequence = models.BigIntegerField(default=0, editable=False)
    # Larger goes first.
    priority = models.SmallIntegerField(default=0)
    # At most one command that disturbs the device is in flight.
    disruptive = models.BooleanField(default=False)
    status = models.CharField(max_length=16, choices=Status, default=Status.QUEUED)
    # Who moved it last: api, console, device, gateway, sweep. The trail's trigger copies it.
    moved_by = models.CharField(max_length=16, default="api", editable=False)
    # How often it was handed out; a result names the attempt it belongs to.
    attempt = models.PositiveIntegerField(default=0)
    version = models.PositiveIntegerField(default=1)

    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    expires_at = models.DateTimeField()
    # Not handed out before: a schedule, or the pause before another attempt.
    not_before = models.DateTimeField(null=True, blank=True)
    # Held for an operator's word, with the reason.
    held_reason = models.CharField(max_length=limits.LINE_CHARS, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    # Seconds a run may take altogether, and the moment that is for the present one.
    run_timeout_s = models.PositiveIntegerField(default=limits.COMMAND_RUN_S)
    run_deadline = models.DateTimeField(null=True, blank=True)
    # The device says how long its next step may take, and renews it.
    step_deadline = models.DateTimeField(null=True, blank=True)
    # Further attempts by failure class: {"network": 3, "timeout": 1, "failed": 0}.
    retries = models.JSONField(default=dict, blank=True)
    retry_backoff_s = models.PositiveIntegerField(default=limits.COMMAND_BACKOFF_S)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancel_deadline = models.DateTimeField(null=True, blank=True)

    expect_version = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    expect_state = models.CharField(max_length=16, blank=True, choices=Device.Health)
    on_mismatch = models.CharField(max_length=8, choices=Mismatch, default=Mismatch.DROP)
    reconnect = models.CharField(max_length=8, choices=Reconnect, default=Reconnect.RUN)
    # Offline for longer than this many seconds: `reconnect` decides.
    reconnect_after_s = models.PositiveIntegerField(default=limits.COMMAND_RECONNECT_S)

    # How it travels: "agent" is fetched; the rest is read by other transports.
    protocol = models.CharField(max_length=16, default="agent")
    codec = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    qos = models.PositiveSmallIntegerField(null=True, blank=True)
    retain = models.BooleanField(default=False)
    confirmable = models.BooleanField(default=True)

    # Of the last attempt.
    result = models.JSONField(null=True, blank=True)
    failure_class = models.CharField(max_length=16, blank=True, choices=FailureClass)
    error_code = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
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
            models.CheckConstraint(
                condition=~Q(status="running") | Q(run_deadline__isnull=False),
                name="command_running_has_deadline",
            ),
            # A claim looks at what others committed before it began; of two gateways that claim at
            # the same moment this refuses the second, which then looks again.
            models.UniqueConstraint(
                fields=["device"],
                condition=Q(disruptive=True, status__in=["delivered", "running"]),
                name="command_one_disruptive",
            ),
            # Nobody has begun it: it is cancelled at once.
            models.CheckConstraint(
                condition=~Q(status="queued") | Q(cancel_requested_at__isnull=True),
                name="command_queued_is_not_stopping",
            ),
        ]
        indexes = [
            # A claim, the heartbeat's count of what waits, and the cap per device.
            models.Index(
                fields=["device", "-priority", "sequence"],
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
            # leases_recover, runs_time_out, cancels_force: what devices hold.
            models.Index(
                fields=["id"],
                condition=Q(status__in=["delivered", "running"]),
                name="command_in_flight",
            ),
            # Deleting a command forgets that it was repeated.
            models.Index(
                fields=["retry_of"],
                condition=Q(retry_of__isnull=False),
                name="command_repeated",
            ),
            # The progress of a batch.
            models.Index(
                fields=["batch", "status"],
                condition=Q(batch__isnull=False),
                name="command_of_batch",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def ack_deadline(self) -> datetime | None:
        """The moment by which the device has to be heard of next, while it holds the command."""
        timers = [self.lease_expires_at, self.step_deadline, self.run_deadline]
        return min((timer for timer in timers if timer), default=None)


class CommandLane(models.Model):
    """One row per device: its last sequence. Locked while a command is queued, which makes the
    order of sequences the order of commits and the cap on open commands exact."""

    device = models.OneToOneField(Device, models.CASCADE, primary_key=True, related_name="+")
    organization = models.ForeignKey("accounts.Organization", models.CASCADE, related_name="+")
    sequence = models.BigIntegerField(default=0)

    objects = OfDeviceQuerySet["CommandLane"].as_manager()

    def __str__(self) -> str:
        return f"{self.device_id} {self.sequence}"


Row = TypeVar("Row", bound=models.Model)


class OfCommandQuerySet(TenantQuerySet[Row]):
    """Rows of a command are visible where the command is."""

    def visible_to(self, principal: "Principal") -> Self:  # type: ignore[override]
        rows = super().visible_to(principal)
        if principal.limited or principal.kind == "device":
            return rows.filter(command__in=Command.objects.visible_to(principal))
        return rows


class CommandAttempt(models.Model):
    """One time a command was handed out. Written by a trigger of commands_command only."""

    class Outcome(models.TextChoices):
        LOST = "lost", "no sign of life"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        REJECTED = "rejected"
        TIMED_OUT = "timed_out", "timed out"
        EXPIRED = "expired"
        CANCELLED = "cancelled"

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(
        "accounts.Organization", models.PROTECT, db_index=False, related_name="+"
    )
    command = models.ForeignKey(Command, models.CASCADE, db_index=False, related_name="attempts")
    number = models.PositiveIntegerField()
    delivered_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=16, blank=True, choices=Outcome)
    failure_class = models.CharField(max_length=16, blank=True)
    error_code = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    error = models.TextField(blank=True)
    result = models.JSONField(null=True)

    objects = OfCommandQuerySet["CommandAttempt"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["command", "number"], name="attempt_once"),
        ]

    def __str__(self) -> str:
        return f"{self.command_id} #{self.number}"


class CommandEvent(models.Model):
    """One step of a command's life. Append-only, written by a trigger of commands_command only."""

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(
        "accounts.Organization", models.PROTECT, db_index=False, related_name="+"
    )
    command = models.ForeignKey(Command, models.CASCADE, db_index=False, related_name="events")
    at = models.DateTimeField()
    source = models.CharField(max_length=16)
    from_status = models.CharField(max_length=16, blank=True)
    to_status = models.CharField(max_length=16)
    attempt = models.PositiveIntegerField()
    code = models.CharField(max_length=limits.SHORT_CHARS, blank=True)
    detail = models.CharField(max_length=limits.LINE_CHARS, blank=True)

    objects = OfCommandQuerySet["CommandEvent"].as_manager()

    class Meta:
        indexes = [
            # The timeline of a command.
            models.Index(fields=["command", "id"], name="command_event_line"),
        ]

    def __str__(self) -> str:
        return f"{self.command_id} {self.from_status} to {self.to_status}"


class OutputChunk(models.Model):
    """A piece of what an attempt printed, in the order of `index` (from 0)."""

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(
        "accounts.Organization", models.PROTECT, db_index=False, related_name="+"
    )
    command = models.ForeignKey(Command, models.CASCADE, db_index=False, related_name="chunks")
    attempt = models.PositiveIntegerField()
    index = models.PositiveIntegerField()
    text = models.TextField()
    # Characters of the attempt up to here: what is still free is known without counting again.
    end = models.PositiveIntegerField()
    at = models.DateTimeField()

    objects = OfCommandQuerySet["OutputChunk"].as_manager()

    class Meta:
        constraints = [
            # The same chunk sent again changes nothing; also what the live view reads.
            models.UniqueConstraint(
                fields=["command", "attempt", "index"], name="output_chunk_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.command_id} #{self.attempt}.{self.index}"

"""What the gates look at: gathered once, with a bounded number of statements."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Count, Min, Q, QuerySet

from devices.models import Device, DeviceRecovery, DeviceState
from releases.models import (
    OPEN,
    Artifact,
    DeviceUpdate,
    Release,
    Rollout,
    RolloutStage,
    RolloutTarget,
    SiteCalendar,
)
from releases.services.manifests import reach_of
from releases.services.openings import Opening

MINUTE = timedelta(minutes=1)
# How long a device that was given its update may take to come for it before its place is free.
PLACE_KEPT = timedelta(minutes=15)
# How an update ends that says something against the release on this device.
BAD = [DeviceUpdate.Status.FAILED, DeviceUpdate.Status.ROLLED_BACK]


@dataclass(frozen=True)
class Facts:
    """A device, a release, perhaps a rollout, and everything that decides between them."""

    device: Device
    release: Release
    rollout: Rollout | None
    now: datetime
    running: str = ""
    quarantined_until: datetime | None = None
    artifact_role: str | None = None
    reach: Collection[str] = field(default_factory=frozenset)
    stages: list[RolloutStage] = field(default_factory=list)
    target: RolloutTarget | None = None
    # Its open update, whatever for, and how it fared with this release before.
    open_update: DeviceUpdate | None = None
    bad_update: DeviceUpdate | None = None
    site: Opening = field(default_factory=Opening)
    # Begun in the last minute, and when the first of them was; None where nothing bounds it.
    begun: int | None = None
    begun_first: datetime | None = None
    # In flight at once; None where nothing bounds it.
    held: int | None = None

    @property
    def segment(self) -> str:
        """The segment that counts: the frozen one, where it is frozen."""
        return self.target.segment if self.target else self.device.segment

    @property
    def stage(self) -> RolloutStage | None:
        """The stage the device belongs to, if the plan has one."""
        return next((one for one in self.stages if one.segment == self.segment), None)

    @property
    def is_under_way(self) -> bool:
        """Whether the rollout has given the device its update already, and it goes on."""
        return (
            self.open_update is not None
            and self.target is not None
            and self.target.update_id == self.open_update.pk
        )


def facts_of(*, device: Device, release: Release, rollout: Rollout | None, now: datetime) -> Facts:
    """Gather the facts of one device."""
    states = DeviceState.objects.filter(device=device).values_list("version", flat=True)
    recoveries = DeviceRecovery.objects.filter(device=device)
    until = recoveries.values_list("quarantined_until", flat=True).first()
    target = None
    if rollout is not None:
        targets = RolloutTarget.objects.select_related("update")
        target = targets.filter(rollout=rollout, device=device).first()
    open_update, bad_update = _updates(device, release)
    begun, begun_first = _begun(rollout, now)
    return Facts(
        device=device,
        release=release,
        rollout=rollout,
        now=now,
        running=states.first() or "",
        quarantined_until=until if until and until > now else None,
        artifact_role=_artifact_role(device, release),
        reach=reach_of(release),
        stages=list(rollout.stages.order_by("position")) if rollout else [],
        target=target,
        open_update=open_update,
        bad_update=bad_update,
        site=_site(device, rollout),
        begun=begun,
        begun_first=begun_first,
        held=held_of(rollout, now) if rollout and rollout.concurrency is not None else None,
    )


def _artifact_role(device: Device, release: Release) -> str | None:
    stored = Artifact.objects.stored().filter(release=release, role__in=[device.role, ""])
    return stored.order_by("-role").values_list("role", flat=True).first()


def _updates(device: Device, release: Release) -> tuple[DeviceUpdate | None, DeviceUpdate | None]:
    """Return its open update, and its last one to this release that went wrong."""
    telling = Q(status__in=OPEN) | Q(release=release, status__in=BAD)
    rows = DeviceUpdate.objects.filter(telling, device=device).order_by("-pk")
    found = list(rows.select_related("release")[:2])
    opened = next((one for one in found if one.is_open), None)
    return opened, next((one for one in found if not one.is_open), None)


def _site(device: Device, rollout: Rollout | None) -> Opening:
    if not device.site or (rollout is not None and not rollout.use_calendars):
        return Opening()
    calendars = SiteCalendar.objects.filter(
        organization_id=device.organization_id, site=device.site
    )
    calendar = calendars.first()
    return Opening.of_calendar(calendar) if calendar else Opening()


def _begun(rollout: Rollout | None, now: datetime) -> tuple[int | None, datetime | None]:
    if rollout is None or rollout.rate_per_minute is None:
        return None, None
    told = begun_lately(rollout, now).aggregate(count=Count("pk"), first=Min("scheduled_at"))
    return told["count"], told["first"]


def begun_lately(rollout: Rollout, now: datetime) -> QuerySet[DeviceUpdate]:
    """Return the updates of a rollout that began in the last minute."""
    return DeviceUpdate.objects.filter(
        rollout=rollout, kind=DeviceUpdate.Kind.ROLLOUT, scheduled_at__gt=now - MINUTE
    )


def held_of(rollout: Rollout, now: datetime) -> int:
    """Count the updates that hold a place: in flight, or given to a device that may still come.

    A device that has not come for it in time holds none, so that a few that are away do not stop a
    rollout; the offer asks again whether there is a place.
    """
    mine = DeviceUpdate.objects.filter(rollout=rollout, kind=DeviceUpdate.Kind.ROLLOUT)
    waiting = mine.filter(status=DeviceUpdate.Status.SCHEDULED, scheduled_at__gt=now - PLACE_KEPT)
    return mine.in_flight().count() + waiting.count()

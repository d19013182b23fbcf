"""Which versions run where."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Q

from accounts.principals import Principal
from devices.models import Device, DeviceState
from releases.models import Release

_ROWS = 60
UNKNOWN = ""


@dataclass
class VersionRow:
    """One version: devices by column, how many of them are not well, and its release."""

    version: str
    counts: Counter[str] = field(default_factory=Counter)
    ill: int = 0
    release: Release | None = None

    @property
    def total(self) -> int:
        return self.counts.total()


@dataclass(frozen=True)
class VersionMatrix:
    """Versions against segments, roles or sites; `more` versions are not shown."""

    columns: list[str]
    rows: list[VersionRow]
    total: int
    more: int


AXES = {"segment": "device__segment", "role": "device__role", "site": "device__site"}
_COLUMNS = 12
_OTHER = "others"


def version_matrix(*, principal: Principal, axis: str) -> VersionMatrix:
    """Count the present devices by running version and by `axis`, one of AXES.

    The most frequent columns stand alone; the rest is one column “others”. Newest releases
    first, then versions the portal has no release of.
    """
    visible = Device.objects.visible_to(principal).present()
    states = DeviceState.objects.filter(device__in=visible).order_by()
    ill = Q(health__in=["degraded", "failed"])
    counted: Any = states.values_list("version", AXES[axis]).annotate(
        count=Count("pk"), ill=Count("pk", filter=ill)
    )
    found: dict[str, VersionRow] = {}
    columns: Counter[str] = Counter()
    for version, column, count, sick in counted:
        row = found.setdefault(version, VersionRow(version))
        row.counts[column] += count
        row.ill += sick
        columns[column] += count
    _name_releases(found, principal)
    shown = [name for name, _ in columns.most_common(_COLUMNS)]
    if len(columns) > _COLUMNS:
        for row in found.values():
            rest = sum(count for name, count in row.counts.items() if name not in shown)
            row.counts = Counter({name: row.counts[name] for name in shown}) + Counter(
                {_OTHER: rest}
            )
        shown.append(_OTHER)
    rows = sorted(found.values(), key=_order)
    return VersionMatrix(shown, rows[:_ROWS], columns.total(), max(len(rows) - _ROWS, 0))


def _order(row: VersionRow) -> tuple[bool, int, int]:
    counter = row.release.counter if row.release else None
    return (counter is None, -(counter or 0), -row.total)


def _name_releases(found: dict[str, VersionRow], principal: Principal) -> None:
    releases = Release.objects.visible_to(principal).filter(version__in=list(found))
    for release in releases:
        found[release.version].release = release


def adoption_of(release: Release, principal: Principal) -> dict[str, int]:
    """Return how many visible devices run the release, and how many its roles make up."""
    devices = Device.objects.visible_to(principal).present()
    if release.roles:
        devices = devices.filter(role__in=release.roles)
    running = DeviceState.objects.filter(device__in=devices, version=release.version)
    return {"running": running.count(), "of": devices.count()}

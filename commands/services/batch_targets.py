"""Who gets the command of a batch: chosen, judged one by one, put into waves, frozen."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.db.models import Count, QuerySet
from django.http import QueryDict

from accounts.principals import Principal
from commands.errors import SelectionRefused
from commands.models import BatchTarget, Command, CommandBatch
from common import limits
from devices.api.filters import DeviceFilter
from devices.models import Device, DeviceGroup

WAYS = ["devices", "group", "tags", "filter"]
QUEUE_FULL = f"holds {limits.COMMANDS_PER_DEVICE} open commands already"
_LIFECYCLES = {
    Device.Lifecycle.PENDING: "is pending: accept it first",
    Device.Lifecycle.QUARANTINED: "is quarantined: command it by itself",
    Device.Lifecycle.RETIRED: "is retired",
}
_UNKNOWN = "is not a device you see"
_TWICE = "is in the list more than once: it gets the command once"


@dataclass(frozen=True)
class Candidate:
    """A device as far as a batch has to know it."""

    pk: UUID
    device_id: str
    lifecycle: str
    maintenance_mode: bool


@dataclass(frozen=True)
class LeftOut:
    """A device that does not take part, and why; without `pk` it is a mere word of the list."""

    device_id: str
    reason: str
    pk: UUID | None = None


@dataclass(frozen=True)
class Choice:
    """What a selection means now; `taking` is in the order of device ids."""

    taking: list[Candidate] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def unmatched(self) -> list[LeftOut]:
        return [one for one in self.left_out if one.pk is None]


def choose(*, selection: Mapping[str, Any], principal: Principal) -> Choice:
    """Look the selection up among the devices the principal sees, and judge each of them.

    Exactly one of `devices` (device ids), `group` (id or name), `tags` (a device carries all) or
    `filter` (what the list of devices takes). Raises SelectionRefused.
    """
    principal.acting_organization()
    ways = [way for way in WAYS if way in selection]
    if len(ways) != 1 or len(selection) != 1:
        raise SelectionRefused(
            f"Choose devices in exactly one way of: {', '.join(WAYS)}.",
            errors={"selection": [f"Name one of {', '.join(WAYS)}."]},
        )
    visible = Device.objects.visible_to(principal)
    wanted = selection[ways[0]]
    match ways[0]:
        case "devices":
            return _listed(visible, wanted)
        case "group":
            return judge(of_group(visible, wanted, principal))
        case "tags":
            return judge(visible.filter(tags__contains=wanted))
        case _:
            return judge(filtered(visible, wanted))


def _listed(visible: QuerySet[Device], wanted: Sequence[str]) -> Choice:
    if len(wanted) > limits.BATCH_LISTED:
        raise SelectionRefused(
            f"{len(wanted)} devices are named; at most {limits.BATCH_LISTED} are taken."
            " Choose them by group, tags or filter."
        )
    choice = judge(visible.filter(device_id__in=wanted))
    known = {one.device_id for one in choice.taking} | {one.device_id for one in choice.left_out}
    words = Counter(wanted)
    strange = [LeftOut(word, _UNKNOWN) for word in words if word not in known]
    twice = [LeftOut(word, _TWICE) for word, times in words.items() if times > 1]
    return Choice(choice.taking, [*choice.left_out, *strange, *twice])


def of_group(visible: QuerySet[Device], wanted: str, principal: Principal) -> QuerySet[Device]:
    groups = DeviceGroup.objects.visible_to(principal)
    try:
        group = groups.filter(pk=UUID(wanted)).first()
    except ValueError:
        group = None
    group = group or groups.filter(name=wanted).first()
    if group is None:
        raise SelectionRefused(
            f"There is no group “{wanted[:60]}”.", errors={"selection.group": ["Unknown group."]}
        )
    return visible.filter(pk__in=group.members.values("device_id"))


def filtered(visible: QuerySet[Device], wanted: Mapping[str, Any]) -> QuerySet[Device]:
    unknown = sorted(set(wanted) - set(DeviceFilter.base_filters))
    if unknown:
        raise SelectionRefused(
            f"The list of devices has no filter “{unknown[0][:40]}”."
            f" Known: {', '.join(DeviceFilter.base_filters)}.",
            errors={f"selection.filter.{name[:40]}": ["Unknown filter."] for name in unknown},
        )
    query = QueryDict(mutable=True)
    for name, value in wanted.items():
        query.setlist(name, [_word(one) for one in (value if isinstance(value, list) else [value])])
    narrowed = DeviceFilter(query, queryset=visible)
    if not narrowed.is_valid():
        raise SelectionRefused(
            "The filter cannot be read.",
            errors={
                f"selection.filter.{name}": [str(fault) for fault in faults]
                for name, faults in narrowed.errors.items()
            },
        )
    devices: QuerySet[Device] = narrowed.qs
    return devices


def _word(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise SelectionRefused("The values of a filter are texts, numbers and booleans.")


def judge(devices: QuerySet[Device]) -> Choice:
    """Part the devices that may get a command of a batch from those that may not.

    Raises SelectionRefused when there are more than a batch can hold.
    """
    columns = ["pk", "device_id", "lifecycle", "maintenance_mode"]
    rows = devices.order_by("device_id").values_list(*columns).distinct()
    candidates = [Candidate(*row) for row in rows[: limits.BATCH_DEVICES + 1]]
    if len(candidates) > limits.BATCH_DEVICES:
        raise SelectionRefused(
            f"More than {limits.BATCH_DEVICES} devices are chosen. Narrow the selection."
        )
    full = queues_full(devices)
    choice = Choice()
    for one in candidates:
        if reason := left_out_because(one, full=one.pk in full):
            choice.left_out.append(LeftOut(one.device_id, reason, one.pk))
        else:
            choice.taking.append(one)
    return choice


def queues_full(devices: QuerySet[Device]) -> set[UUID]:
    """Return which of the devices hold as many open commands as they may."""
    commands = Command.objects.filter(device__in=devices.order_by().values("pk")).open()
    counted: Any = commands.order_by().values_list("device").annotate(held=Count("pk"))
    return {device for device, _ in counted.filter(held__gte=limits.COMMANDS_PER_DEVICE)}


def left_out_because(device: Candidate | Device, *, full: bool) -> str:
    """Return why the device gets no command of a batch, as a sentence's end, or nothing."""
    if device.lifecycle in _LIFECYCLES:
        return _LIFECYCLES[Device.Lifecycle(device.lifecycle)]
    if device.maintenance_mode:
        return "is in maintenance"
    return QUEUE_FULL if full else ""


def wave_sizes(*, total: int, waves: Sequence[Mapping[str, int]]) -> list[int]:
    """Return how many devices each wave has; what the waves leave over is the last one.

    A percentage is of the whole and rounded up. Waves for which nobody is left fall away.
    """
    sizes = []
    left = total
    for wave in waves:
        asked = wave.get("size") or math.ceil(total * wave.get("percent", 0) / 100)
        sizes.append(min(asked, left))
        left -= sizes[-1]
    return [size for size in [*sizes, left] if size]


def freeze(*, batch: CommandBatch, choice: Choice) -> None:
    """Write the targets of a new batch, in an order nobody chose and everybody can repeat."""
    order = sorted(choice.taking, key=lambda one: sha256(batch.pk.bytes + one.pk.bytes).digest())
    numbers = [wave for wave, size in enumerate(batch.wave_sizes) for _ in range(size)]
    common = {"organization_id": batch.organization_id, "batch": batch}
    targets = [
        BatchTarget(**common, device_id=one.pk, wave=wave)
        for one, wave in zip(order, numbers, strict=True)
    ]
    targets += [
        BatchTarget(**common, device_id=one.pk, skipped=one.reason)
        for one in choice.left_out
        if one.pk is not None
    ]
    BatchTarget.objects.bulk_create(targets, batch_size=limits.BATCH_CHUNK)

"""What a plan would do: who, when, how many bytes where, and what stands in its way.

Devices are counted exactly. When they will be heard of is an estimate; `assumptions` says of what.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from accounts.principals import Principal
from common.db import statements_may_take
from releases.models import Release, Rollout
from releases.services.contacts import (
    HOUR,
    HOURS,
    Openings,
    Presence,
    delays_of,
    presences_of,
    share_of,
    update_minutes,
)
from releases.services.openings import Opening
from releases.services.plans import Plan
from releases.services.simulated_sets import (
    SITES,
    Count,
    counts_of,
    devices_page,
    difference_of,
    frozen_of,
    overlaps_of,
)
from releases.services.targets import Chosen, chosen_now, chosen_of, held_from

# A stage counts as finished when so many per cent have ended: the last few may be away for weeks.
FINISHED_PERCENT = 95


@dataclass(frozen=True)
class Simulated:
    """A plan and the devices it is about."""

    release: Release
    plan: Plan
    chosen: Chosen
    # Of a plan that was saved.
    rollout: Rollout | None = None
    is_frozen: bool = False


def of_plan(*, release: Release, plan: Plan, principal: Principal, now: datetime) -> Simulated:
    """Look at a plan that was not saved. Raises RolloutRefused and SelectionRefused."""
    plan.check(now)
    chosen = chosen_now(
        selection=plan.selection,
        release=release,
        salt="",
        segments=[one["segment"] for one in plan.stages],
        principal=principal,
    )
    return Simulated(release, plan, chosen)


def of_rollout(*, rollout: Rollout, principal: Principal) -> Simulated:
    """Look at a saved plan: at its frozen devices once there are any."""
    is_frozen = rollout.targets.exists()
    chosen = frozen_of(rollout) if is_frozen else chosen_of(rollout, principal)
    return Simulated(rollout.release, Plan.of(rollout), chosen, rollout, is_frozen)


def simulate(
    simulated: Simulated, *, now: datetime, segment: str | None = None, page: int = 1
) -> dict[str, Any]:
    """Return what the plan would do from now on; with `segment` also a page of its devices."""
    plan, chosen = simulated.plan, simulated.chosen
    # A million devices take a few seconds to count.
    statements_may_take(seconds=30)
    counts = counts_of(
        chosen=chosen,
        release=simulated.release,
        rollout=simulated.rollout,
        stages=plan.stages,
        held_from=held_from(plan.holdback_percent),
        now=now,
    )
    presences = presences_of(
        chosen=chosen,
        segments=[one["segment"] for one in plan.stages],
        held_from=held_from(plan.holdback_percent),
        now=now,
    )
    pace = _Pace.of(simulated, now)
    sites = _sites(counts)
    return {
        "release": simulated.release.version,
        "is_frozen": simulated.is_frozen,
        "total": sum(one.devices for one in counts),
        "stages": _stages(plan, counts, presences, pace),
        "bytes": sum(one["bytes"] for one in sites),
        "sites": sites[:SITES],
        "sites_count": len(sites),
        "opens_at": pace.opening.opens_at(now),
        "conflicts": overlaps_of(chosen=chosen, release=simulated.release),
        "difference": _difference(simulated),
        "devices": devices_page(chosen=chosen, segment=segment, page=page) if segment else [],
        "assumptions": _assumptions(simulated, pace, presences),
    }


@dataclass(frozen=True)
class _Pace:
    """What bounds how fast a plan goes."""

    now: datetime
    plan: Plan
    opening: Opening
    openings: Openings
    minutes: float
    learnt_from: int

    @classmethod
    def of(cls, simulated: Simulated, now: datetime) -> "_Pace":
        organization_id = simulated.release.organization_id
        opening = Opening.of_plan(simulated.plan.window, simulated.plan.blackouts)
        openings = Openings(
            organization_id=organization_id,
            opening=opening,
            use_calendars=simulated.plan.use_calendars,
            now=now,
        )
        return cls(now, simulated.plan, opening, openings, *update_minutes(organization_id))

    def after(
        self, start: datetime, devices: int, presences: list[Presence], percent: float
    ) -> datetime | None:
        """Return when so many per cent of the devices will have ended; None: not in a week."""
        if not devices:
            return start
        from_hour = int((start - self.now) / HOUR)
        if from_hour >= HOURS:
            return None
        heard = share_of(delays_of(presences, self.openings, from_hour=from_hour), percent)
        if heard is None:
            return None
        many = devices * percent / 100
        bounds = [heard]
        if self.plan.rate_per_minute:
            bounds.append(timedelta(minutes=many / self.plan.rate_per_minute))
        if self.plan.concurrency:
            bounds.append(timedelta(minutes=many / self.plan.concurrency * self.minutes))
        return start + max(bounds) + timedelta(minutes=self.minutes + self.plan.verify_minutes)


def _stages(
    plan: Plan, counts: list[Count], presences: dict[str, list[Presence]], pace: _Pace
) -> list[dict[str, Any]]:
    told = []
    start: datetime | None = pace.now
    for stage in plan.stages:
        one = _stage(stage, [count for count in counts if count.segment == stage["segment"]])
        sample = presences.get(stage["segment"], [])
        soaks = ends = None
        if start is not None:
            soaks = pace.after(start, one["ready"], sample, stage["soak_after_percent"])
            ends = pace.after(start, one["ready"], sample, FINISHED_PERCENT)
        soak_ends = soaks + timedelta(minutes=stage["soak_minutes"]) if soaks else None
        told.append(
            {**one, "starts_at": start, "soaks_at": soaks, "soak_ends_at": soak_ends,
             "finishes_at": ends, "sampled": len(sample)}
        )  # fmt: skip
        start = soak_ends
    return told


def _stage(stage: dict[str, Any], counts: list[Count]) -> dict[str, Any]:
    parts: Counter[str] = Counter()
    closed: Counter[str] = Counter()
    for one in counts:
        parts[one.part] += one.devices
        if one.part == "now":
            closed[one.gate] += one.devices
    return {
        "segment": stage["segment"],
        "percentage": stage["percentage"],
        "devices": parts.total(),
        "in_percentage": parts["now"],
        "later": parts["later"],
        "held_back": parts["held"],
        "ready": closed[""],
        "blocked": [
            {"gate": gate, "devices": devices} for gate, devices in closed.most_common() if gate
        ],
    }


def _sites(counts: list[Count]) -> list[dict[str, Any]]:
    """Return what each site downloads for the percentages of the plan, the most bytes first."""
    devices: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for one in counts:
        if one.part == "now" and not one.gate:
            devices[one.site] += one.devices
            size[one.site] += int(one.bytes)
    order = sorted(devices, key=lambda site: (-size[site], site))
    return [{"site": site, "devices": devices[site], "bytes": size[site]} for site in order]


def _difference(simulated: Simulated) -> dict[str, Any] | None:
    if not simulated.is_frozen or simulated.rollout is None:
        return None
    return difference_of(rollout=simulated.rollout, live=chosen_of(simulated.rollout))


def _assumptions(
    simulated: Simulated, pace: _Pace, presences: dict[str, list[Presence]]
) -> list[str]:
    sampled = sum(map(len, presences.values()))
    told = [
        f"The coming week is taken to be like the last one, hour by hour, for {sampled} devices"
        " looked at; devices not heard of in it are not expected.",
        f"A stage counts as finished when {FINISHED_PERCENT} % of its ready devices have ended.",
        "The next stage is taken to open as soon as the soak time of the one before is over.",
        f"An update takes {pace.minutes:.0f} minutes from offer to claim, "
        + (
            f"the median of the last {pace.learnt_from}."
            if pace.learnt_from
            else "for want of updates to learn from."
        ),
    ]
    if simulated.rollout is None:
        told.append(
            "Which devices a percentage or the hold-back group takes is settled once the plan is"
            " saved."
        )
    return told

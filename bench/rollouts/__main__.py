"""`python -m bench.rollouts`: a rollout to many devices, frozen, simulated, advanced, explained.

Every figure is printed with what is asked for, as a ratio: above 1 is better than that.
"""

import argparse
import random
import statistics
import sys
from datetime import timedelta
from typing import Any

from bench.portal import Portal, portal, say, use_database
from bench.rollouts import callers, fleet, pages, stopping, sweeps
from bench.rollouts.figures import (
    MOST_ELIGIBILITY_S,
    MOST_PLAN_S,
    MOST_SWEEP_S,
    timed,
    told,
    told_p99,
)

# Devices with a token, which ask for themselves.
ASKING = 1_000
VERSION = "1.0.0"
# What the plan allows: updates begun in a minute, and in flight at once.
RATE, PLACES = 2_000, 5_000


def planning() -> tuple[bool, Any]:
    from common import clock
    from releases.services import rollouts, simulation
    from releases.services.plans import Plan

    release, who = fleet.signed_release(VERSION, 1), fleet.planner()
    plan = Plan(rate_per_minute=RATE, concurrency=PLACES, holdback_percent=2)
    took, rollout = timed(
        lambda: rollouts.rollout_create(
            release=release, name="bench", plan=plan, principal=who, now=clock.now()
        )
    )
    looked, _ = timed(
        lambda: simulation.simulate(
            simulation.of_rollout(rollout=rollout, principal=who), now=clock.now()
        )
    )
    kept = [told("plan and simulation", took + looked, MOST_PLAN_S)]
    froze, rollout = timed(
        lambda: rollouts.rollout_start(rollout=rollout, principal=who, now=clock.now())
    )
    kept.append(told(f"freezing {rollout.total} devices at start", froze, MOST_PLAN_S))
    looked, seen = timed(
        lambda: simulation.simulate(
            simulation.of_rollout(rollout=rollout, principal=who), now=clock.now()
        )
    )
    kept.append(told("simulation of the frozen ones, with the difference", looked, MOST_PLAN_S))
    ready = ", ".join(f"{one['segment']} {one['ready']}" for one in seen["stages"])
    say(f"    ready: {ready}")
    return all(kept), rollout


def advancing(rollout: Any) -> bool:
    from django.db.models import F

    from common import clock, db
    from releases.models import DeviceUpdate
    from releases.services.advance import rollouts_advance

    rollout.stages.update(opened_at=clock.now())
    rounds = []
    for _ in range(12):
        rounds.append(timed(lambda: rollouts_advance(now=clock.now())))
        # The minute passes, and the devices are through.
        DeviceUpdate.objects.filter(rollout=rollout).update(
            scheduled_at=F("scheduled_at") - timedelta(minutes=20)
        )
    working = [seconds for seconds, count in rounds if count]
    kept = told("a sweep that schedules 2,000, median", statistics.median(working), MOST_SWEEP_S)
    kept = told("the slowest of them", max(working), MOST_SWEEP_S) and kept
    say(f"    scheduled: {DeviceUpdate.objects.filter(rollout=rollout).count()}")
    # As autovacuum would have done by now: what the devices did took hours, not seconds.
    db.execute("VACUUM ANALYZE releases_deviceupdate")
    rollouts_advance(now=clock.now())
    idle = [timed(lambda: rollouts_advance(now=clock.now()))[0] for _ in range(5)]
    return told("a sweep with no room, median", statistics.median(idle), MOST_SWEEP_S) and kept


def explaining(count: int) -> bool:
    from common import clock
    from devices.models import Device
    from releases.models import Release
    from releases.services.eligibility import eligibility_of

    keys = list(Device.objects.values_list("pk", flat=True))
    release = Release.objects.get(version=VERSION)
    took = []
    for pk in random.Random(1).sample(keys, count):  # noqa: S311 - which ones does not matter
        device = Device.objects.get(pk=pk)
        seconds, _ = timed(lambda: eligibility_of(device=device, release=release, now=clock.now()))  # noqa: B023
        took.append(seconds)
    return told_p99("eligibility by the service", took, MOST_ELIGIBILITY_S)


def asking(ours: Portal, count: int) -> bool:
    took = callers.eligibility(ours, VERSION, asking=ASKING, count=count)
    kept = [
        told_p99(f"eligibility over HTTP, {who}", one, MOST_ELIGIBILITY_S)
        for who, one in took.items()
    ]
    return all(kept)


def main() -> int:
    """Measure; exit status 1 when a figure misses what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.rollouts", description=__doc__)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--asked", type=int, default=1_000)
    options = parser.parse_args()
    with portal(ASKING) as ours:
        # Filling takes longer than a request may.
        use_database({**ours.environ, "STATEMENT_TIMEOUT_MS": "300000"})
        seconds, _ = timed(lambda: fleet.fill(options.devices - ASKING))
        fleet.calendars(fleet.SITES // 2)
        say(f"\n{options.devices} devices at {fleet.SITES} sites (made in {seconds:.0f} s)")
        planned, rollout = planning()
        kept = [planned, advancing(rollout), explaining(options.asked)]
        kept.append(asking(ours, options.asked))
        say("\npages and answers:")
        kept.append(pages.measure(ours, rollout))
        say("\nplaces:")
        kept.append(stopping.offers(ours, rollout))
        say("\nsweeps:")
        kept.append(sweeps.measure(rollout, options.devices))
        say("\nstopping:")
        kept.append(stopping.halt(ours, rollout))
    say(f"\nall of it in time: {'kept' if all(kept) else 'NOT kept'}")
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())

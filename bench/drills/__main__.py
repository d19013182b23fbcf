"""`make bench-drills`: how often rollouts stop themselves, through the real services.

Every run is one rollout of 200 devices on a real PostgreSQL. Updates end in twenties, as rows;
then `pairs_judge`, `rollout_judge` and, on a verdict, `rollout_halt` do what they do in a sweep.
Failing runs have exactly the configured share of failures, in random order; regressions make
updated devices ill more often than the ones beside them; healthy runs have few failures and the
same illness on both sides. Every run is undone.
"""

import os
import random
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fleetsite.settings")
django.setup()

from django.db import transaction  # noqa: E402

from accounts.models import Organization  # noqa: E402
from common import clock  # noqa: E402
from devices.models import Device, DeviceState  # noqa: E402
from releases.models import DeviceUpdate, HealthPair, Release, Rollout  # noqa: E402
from releases.services.guardrails import rollout_judge  # noqa: E402
from releases.services.halting import rollout_halt  # noqa: E402
from releases.services.pairs import pairs_judge  # noqa: E402

RUNS, DEVICES, STEP, SEED = 100, 200, 20, 7
RULES = [
    {"failure": "all", "threshold_percent": 20, "min_completed": 20},
    {"failure": "false_success", "threshold_percent": 1, "min_completed": 1},
    {"failure": "space", "threshold_percent": 5, "min_completed": 20},
]


@dataclass(frozen=True)
class Scenario:
    """What happens in each run: failures of a class, and who becomes ill."""

    name: str
    # None: a harm so small that 200 devices do not always show it.
    must_stop: bool | None = True
    failures: int = 0
    failure_class: str = "install"
    ill: float = 0.05
    ill_beside: float = 0.05


SCENARIOS = [
    Scenario("20 % fail", failures=40),
    Scenario("5 % out of space", failures=10, failure_class="space"),
    Scenario("1 % false successes", failures=2, failure_class="false_success"),
    Scenario("30 % ill, 5 % beside them", ill=0.30),
    Scenario("15 % ill, 2 % beside them", must_stop=None, ill=0.15, ill_beside=0.02),
    Scenario("healthy: 1 % fail, 5 % ill on both sides", must_stop=False, failures=2),
    Scenario(
        "healthy: none fail, 30 % ill on both sides", must_stop=False, ill=0.30, ill_beside=0.30
    ),
]


@dataclass(frozen=True)
class Fleet:
    """What every run works on."""

    release: Release
    updated: list[Device]
    beside: list[Device]


def made_fleet() -> Fleet:
    now = clock.now()
    organization = Organization.objects.create(name="Drill", slug="drill")
    release = Release.objects.create(
        organization=organization, version="2.0.0", commit="0123456789", created_at=now
    )
    devices = Device.objects.bulk_create(
        Device(organization=organization, device_id=f"d{number}") for number in range(2 * DEVICES)
    )
    DeviceState.objects.bulk_create(
        DeviceState(organization=organization, device=device, health="healthy")
        for device in devices
    )
    return Fleet(release, devices[:DEVICES], devices[DEVICES:])


def one_run(fleet: Fleet, scenario: Scenario, chance: random.Random) -> tuple[str, int]:
    """Return which rule stopped the rollout, empty for none, and after how many ends."""
    rollout = Rollout.objects.create(
        organization=fleet.release.organization,
        release=fleet.release,
        name=scenario.name,
        salt="drill",
        status="running",
        failure_rules=RULES,
        created_at=clock.now(),
        started_at=clock.now(),
    )
    outcomes = [number < scenario.failures for number in range(DEVICES)]
    chance.shuffle(outcomes)
    for begin in range(0, DEVICES, STEP):
        end = begin + STEP
        _end(fleet, rollout, scenario, outcomes[begin:end], begin, chance)
        now = clock.now()
        pairs_judge(now=now)
        rollout.refresh_from_db()
        if verdict := rollout_judge(rollout=rollout, now=now):
            rollout_halt(
                rollout=rollout, reason=verdict.reason, actor=None, now=now, rule=verdict.rule
            )
            return str(verdict.rule["failure"]), end
    return "", DEVICES


def _end(
    fleet: Fleet,
    rollout: Rollout,
    scenario: Scenario,
    outcomes: list[bool],
    begin: int,
    chance: random.Random,
) -> None:
    now = clock.now()
    updates = DeviceUpdate.objects.bulk_create(
        DeviceUpdate(
            organization=rollout.organization,
            device=fleet.updated[begin + place],
            release=fleet.release,
            rollout=rollout,
            to_version="2.0.0",
            status="failed" if failed else "verified",
            failure_class=scenario.failure_class if failed else "",
            scheduled_at=now - timedelta(minutes=30),
            claimed_at=now - timedelta(minutes=20),
            finished_at=now,
        )
        for place, failed in enumerate(outcomes)
    )
    HealthPair.objects.bulk_create(
        HealthPair(
            organization=rollout.organization,
            rollout=rollout,
            update=update,
            control=fleet.beside[begin + place],
            matched_at=now - timedelta(minutes=20),
            due_at=now - timedelta(minutes=5),
        )
        for place, update in enumerate(updates)
        if not outcomes[place]
    )
    for devices, share in [(fleet.updated, scenario.ill), (fleet.beside, scenario.ill_beside)]:
        ill = [one.pk for one in devices[begin : begin + STEP] if chance.random() < share]
        DeviceState.objects.filter(device__in=ill).update(health="degraded")


def main() -> int:
    chance = random.Random(SEED)  # noqa: S311 - a simulation
    say = sys.stdout.write
    say(f"{RUNS} rollouts of {DEVICES} devices each, judged after every {STEP} ends\n")
    good = True
    with transaction.atomic():
        fleet = made_fleet()
        for scenario in SCENARIOS:
            ends = []
            for _ in range(RUNS):
                with transaction.atomic():
                    ends.append(one_run(fleet, scenario, chance))
                    transaction.set_rollback(True)
            stopped = sorted(after for rule, after in ends if rule)
            rules = Counter(rule for rule, _ in ends if rule)
            told = ", ".join(f"{rule} {count}" for rule, count in rules.most_common())
            middle = f" ({told}); half of them by {stopped[len(stopped) // 2]}" if stopped else ""
            say(f"{scenario.name:<44}{len(stopped)}/{RUNS} stopped{middle}\n")
            if scenario.must_stop is not None:
                good = good and len(stopped) == (RUNS if scenario.must_stop else 0)
        transaction.set_rollback(True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

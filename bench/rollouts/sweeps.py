"""What beat's sweeps cost while very many updates are under way."""

from datetime import timedelta
from typing import Any

from bench.portal import say
from bench.rollouts import updates
from bench.rollouts.figures import MOST_SWEEP_S, timed, told

ROUNDS = 3
HOUR = timedelta(hours=1)
# Shares of the fleet, by how far its updates have come.
UNDER_WAY = {"claimed": 0.4, "downloading": 0.2, "installing": 0.2, "scheduled": 0.1}


def measure(rollout: Any, devices: int) -> bool:
    """Time every sweep over devices and releases; the slowest of some rounds counts."""
    from common import clock, db
    from devices.services.upkeep import devices_mark_offline
    from fleetsite.celery import app
    from releases.models import DeviceUpdate, HealthPair, Rollout

    app.loader.import_default_modules()
    now = clock.now()
    updates.alive(at=now + HOUR)
    Rollout.objects.filter(pk=rollout.pk).update(concurrency=devices, rate_per_minute=None)
    for status, share in UNDER_WAY.items():
        made = updates.give(rollout, int(devices * share), status=status, at=now)
        say(f"    {made} are {status}")
    # Half of the rounds find who shows the version, the others who has shown it long enough.
    updates.shown(rollout, at=now + HOUR)
    kept = []
    for name in sorted({str(entry["task"]) for entry in app.conf.beat_schedule.values()}):
        room = name.partition(".")[0]
        if room not in ("releases", "devices"):
            continue
        task = app.tasks[name]
        took = [timed(task)[0] for _ in range(ROUNDS)]
        if name == "releases.tasks.updates_verify":
            updates.shown(rollout, at=now + 2 * HOUR)
            took += [timed(task)[0] for _ in range(ROUNDS)]
        kept.append(told(name.rpartition(".")[2], max(took), MOST_SWEEP_S))
    verified = DeviceUpdate.objects.filter(rollout=rollout, status="verified").count()
    say(f"    {verified} were verified, {HealthPair.objects.count()} paired")
    updates.alive(at=now - HOUR)
    db.execute("UPDATE devices_servicepulse SET since = now() - interval '1 day', at = now()")
    seconds, count = timed(lambda: devices_mark_offline(now=clock.now()))
    kept.append(told(f"devices_mark_offline when all fall silent, {count} at once", seconds,
                     MOST_SWEEP_S))  # fmt: skip
    updates.alive(at=now + HOUR)
    return all(kept)

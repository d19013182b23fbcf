"""What bounds a rollout and what stops it: places under pressure, and a halt of many."""

from typing import Any

from bench.portal import Portal, say
from bench.rollouts import callers, updates
from bench.rollouts.figures import MOST_HALT_S, MOST_SWEEP_S, timed, told

ASKERS = 16
# As many as there are devices with a token.
OFFERS = 1_000
WAITING = 20_000


def offers(ours: Portal, rollout: Any) -> bool:
    """Let many devices ask at once: how fast they are served, and whether the bound holds."""
    from common import clock
    from releases.models import IN_FLIGHT, DeviceUpdate, Rollout

    kept = []
    mine = DeviceUpdate.objects.filter(rollout=rollout)
    for most in (None, OFFERS // 2, 10 * OFFERS):
        mine.filter(status__in=["scheduled", *IN_FLIGHT]).update(
            status="cancelled", finished_at=clock.now()
        )
        updates.free(rollout)
        Rollout.objects.filter(pk=rollout.pk).update(concurrency=most)
        made = updates.give(rollout, OFFERS, status="scheduled", at=clock.now(), names="bench-%")
        requests = callers.update_requests(range(OFFERS))
        seconds, said = callers.statuses_at_once(ours, requests, ASKERS)
        offered = mine.filter(status="offered").count()
        bound = "without a bound" if most is None else f"at most {most} in flight"
        say(f"  {ASKERS} devices ask at once, {bound}: {OFFERS / seconds:.0f} answers/s,")
        say(f"    {said.count(200)} offered, {offered} in flight")
        kept.append(offered == said.count(200) == min(made, most or made))
    return all(kept)


def halt(ours: Portal, rollout: Any) -> bool:
    """Halt a rollout in which many have not begun; nobody is offered anything after it."""
    from common import clock
    from releases.models import IN_FLIGHT, DeviceUpdate, Rollout
    from releases.models import WAITING as NOT_BEGUN
    from releases.services.advance import rollouts_advance

    Rollout.objects.filter(pk=rollout.pk).update(concurrency=None)
    mine = DeviceUpdate.objects.filter(rollout=rollout)
    mine.filter(status__in=["scheduled", *IN_FLIGHT]).update(
        status="cancelled", finished_at=clock.now()
    )
    updates.free(rollout)
    now = clock.now()
    updates.give(rollout, WAITING // 2, status="offered", at=now)
    updates.give(rollout, 500, status="scheduled", at=now, names="bench-%")
    updates.give(rollout, WAITING // 2 - 500, status="scheduled", at=now)
    path = f"/api/v1/rollouts/{rollout.pk}/halt"
    order = callers.request(
        callers.proofs()["person, token"], path, body=b'{"reason": "It smells."}'
    )
    waited = mine.filter(status__in=NOT_BEGUN).count()
    (took,) = callers.ask(ours, [order])
    kept = [told(f"the call that halts a rollout with {waited} waiting", took, MOST_HALT_S)]
    _, said = callers.statuses_at_once(ours, callers.update_requests(range(500)), ASKERS)
    say(f"    offers after it: {said.count(200)} of {len(said)} devices that asked")
    kept.append(said.count(200) == 0)
    sweeps = []
    while mine.filter(status__in=NOT_BEGUN).exists() and len(sweeps) < 20:
        sweeps.append(timed(lambda: rollouts_advance(now=clock.now()))[0])
    if sweeps:
        kept.append(told(f"the slowest of {len(sweeps)} sweeps after it", max(sweeps),
                         MOST_SWEEP_S))  # fmt: skip
    return all(kept)

"""Beat's sweeps over commands. Running one twice, or two at once, changes nothing."""

import time
from typing import Any

from celery import shared_task

from commands import services
from commands.bundles.processing import bundle_process_next
from commands.bundles.processing import bundles_recover as recover
from commands.bundles.retention import bundles_retire as retire
from common import clock

# With the longest read on top it stays below the broker's patience with a task.
BUNDLE_ROUND_S = 300


@shared_task
def commands_expire(**_kwargs: Any) -> None:
    """Every 10 s."""
    services.commands_expire(now=clock.now())


@shared_task
def leases_recover(**_kwargs: Any) -> None:
    """Every 5 s."""
    services.leases_recover(now=clock.now())


@shared_task
def runs_time_out(**_kwargs: Any) -> None:
    """Every 5 s."""
    services.runs_time_out(now=clock.now())


@shared_task
def cancels_force(**_kwargs: Any) -> None:
    """Every 5 s."""
    services.cancels_force(now=clock.now())


@shared_task
def reconnects_judge(**_kwargs: Any) -> None:
    """Every 30 s."""
    services.reconnects_judge(now=clock.now())


@shared_task
def batches_advance(**_kwargs: Any) -> None:
    """Every 2 s."""
    services.batches_advance(now=clock.now())


@shared_task(queue="bundles", time_limit=560, soft_time_limit=540)
def bundles_process(**_kwargs: Any) -> None:
    """Every 3 s, in a worker of its own: until no bundle waits, or a while is over."""
    recover(now=clock.now())
    ends = time.monotonic() + BUNDLE_ROUND_S
    while time.monotonic() < ends and bundle_process_next(now=clock.now()):
        pass


@shared_task
def bundles_retire(**_kwargs: Any) -> None:
    """Every 10 min."""
    retire(now=clock.now())

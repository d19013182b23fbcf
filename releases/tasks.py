"""Beat's sweeps over releases. Running one twice, or two at once, changes nothing."""

from typing import Any

from celery import shared_task

from common import clock
from releases.services import drift_repair, recovery


@shared_task
def recoveries_settle(**_kwargs: Any) -> None:
    """Every 10 s."""
    recovery.recoveries_settle(now=clock.now())


@shared_task
def drifts_repair(**_kwargs: Any) -> None:
    """Every 30 s."""
    drift_repair.drifts_repair(now=clock.now())

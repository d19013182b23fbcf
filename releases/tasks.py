"""Beat's sweeps over rollouts. Running one twice, or two at once, changes nothing."""

from typing import Any

from celery import shared_task

from common import clock
from releases.services import advance


@shared_task
def rollouts_advance(**_kwargs: Any) -> None:
    """Every 2 s."""
    advance.rollouts_advance(now=clock.now())
